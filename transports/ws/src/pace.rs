//! How fast a client may send: commands, what is free, and refusals before it is let go. Counts; the connection waits.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tidings_config::Rate;
use tidings_http::problem::Problem;
use tidings_http::rate::Bucket;

/// Frames of any kind for each command that there may be. Beyond it a client is not refused but read more slowly: what
/// is free is free for those who mean it. By default that is 1,000 frames at once and 200 a second from there on.
const FRAMES_PER_COMMAND: NonZeroU32 = const { NonZeroU32::new(10).unwrap() };
/// How long nothing is read, at least, once there were too many: then there is room for several, and one wake-up for all
/// of them.
const READING_PAUSE: Duration = Duration::from_millis(50);
/// How much longer refusals take to be forgotten than commands: with their pauses they come slowly.
const REFUSALS_REMEMBERED: NonZeroU32 = const { NonZeroU32::new(10).unwrap() };
/// How long a refusal is held back: whoever tries again at once gains nothing, and costs little.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// What a client has left.
pub(crate) struct Pace {
    rate: Rate,
    commands: Bucket,
    /// As many refusals as commands, and hardly more with time; beyond them the client is not going to stop by itself.
    refusals: Bucket,
    frames: Bucket,
}

/// A command that is one too many.
pub(crate) enum Refusal {
    /// It is to be answered so, after a pause.
    Answer(Box<Problem>, Duration),
    /// The client goes on whatever it is answered: it is to be let go.
    Persistent,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        let frames = Rate { count: rate.count.saturating_mul(FRAMES_PER_COMMAND), seconds: rate.seconds };
        let refusals = Rate { count: rate.count, seconds: rate.seconds.saturating_mul(REFUSALS_REMEMBERED) };
        let (commands, refusals, frames) = (Bucket::new(rate), Bucket::new(refusals), Bucket::new(frames));
        Self { rate, commands, refusals, frames }
    }

    /// Counts a command that is not free.
    pub(crate) fn command(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        self.commands.take(1, now).map_err(|wait| match self.refusals.take(1, now) {
            Ok(()) => {
                let problem = Problem::too_many("limits.commands", "commands", self.rate, wait);
                Refusal::Answer(Box::new(problem), REFUSAL_PAUSE)
            }
            Err(_) => Refusal::Persistent,
        })
    }

    /// Counts a frame of any kind; how long nothing more is to be read, if it was one too many.
    pub(crate) fn frame(&mut self) -> Option<Duration> {
        let wait = self.frames.owe(1, Instant::now());
        (!wait.is_zero()).then(|| wait.max(READING_PAUSE))
    }
}
