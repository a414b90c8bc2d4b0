//! The body of an event stream: chunks of HTTP/1.1, in which there are events. An event that lies in one chunk is not copied.

/// Where the body is between two reads.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Bytes of the current chunk that are to come, its end of line included.
    left: usize,
    /// The part of an event that came.
    part: Vec<u8>,
}

/// An end of line after each chunk.
const END: usize = 2;
/// An event that is longer is none of the server's.
const LONGEST: usize = 64 << 20;

impl Stream {
    /// Hands out the data of each event that is complete; returns how much of the input was used. `false` from `event` ends it.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut used = 0;
        loop {
            if self.left == 0 {
                match httparse::parse_chunk_size(&input[used..]) {
                    Ok(httparse::Status::Complete((_, 0))) => return Err("the stream ended".to_owned()),
                    Ok(httparse::Status::Complete((line, size))) => {
                        used += line;
                        self.left = usize::try_from(size).unwrap_or(usize::MAX - END) + END;
                    }
                    Ok(httparse::Status::Partial) => return Ok(used),
                    Err(_) => return Err("the stream is not in chunks".to_owned()),
                }
            }
            let there = self.left.min(input.len() - used);
            let content = there.min(self.left.saturating_sub(END));
            self.content(&input[used..used + content], &mut event)?;
            self.left -= there;
            used += there;
            if used == input.len() {
                return Ok(used);
            }
        }
    }

    fn content(
        &mut self,
        mut content: &[u8],
        event: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        if !self.part.is_empty() {
            // The end of an event may lie across two chunks.
            let known = self.part.len().saturating_sub(1);
            self.part.extend_from_slice(content);
            let Some(end) = memchr::memmem::find(&self.part[known..], b"\n\n") else {
                let is_short = self.part.len() < LONGEST;
                return is_short.then_some(()).ok_or_else(|| "an event has no end".to_owned());
            };
            let whole = std::mem::take(&mut self.part);
            let end = known + end + 2;
            data(&whole[..end]).map_or(Ok(()), &mut *event)?;
            content = &content[content.len() - (whole.len() - end)..];
        }
        while let Some(end) = memchr::memmem::find(content, b"\n\n") {
            data(&content[..end]).map_or(Ok(()), &mut *event)?;
            content = &content[end + 2..];
        }
        self.part.extend_from_slice(content);
        Ok(())
    }
}

/// The data of an event. Tidings writes it in one line.
fn data(event: &[u8]) -> Option<&[u8]> {
    let start = match event.strip_prefix(b"data:") {
        Some(rest) => rest,
        None => &event[memchr::memmem::find(event, b"\ndata:")? + 6..],
    };
    let end = memchr::memchr(b'\n', start).unwrap_or(start.len());
    Some(start[..end].strip_prefix(b" ").unwrap_or(&start[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_fall_into_chunks_and_reads() {
        let body = "retry: 5\n\nid: 1\nevent: hello\ndata: {\"a\":1}\n\ndata:two\n\nid: 3\n\ndata: three\n\n";
        for chunk in 1..body.len() {
            let mut wire = Vec::new();
            for part in body.as_bytes().chunks(chunk) {
                wire.extend(format!("{:x}\r\n", part.len()).bytes().chain(part.iter().copied()));
                wire.extend(b"\r\n");
            }
            for read in [1, 2, 3, 7, wire.len()] {
                let (mut stream, mut seen, mut rest) = (Stream::default(), Vec::new(), Vec::new());
                for part in wire.chunks(read) {
                    rest.extend_from_slice(part);
                    let used = stream.read(&rest, |data| {
                        seen.push(String::from_utf8(data.to_vec()).unwrap());
                        Ok(())
                    });
                    rest.drain(..used.unwrap());
                }
                assert_eq!(seen, [r#"{"a":1}"#, "two", "three"], "chunks of {chunk}, reads of {read}");
            }
        }
        assert!(Stream::default().read(b"0\r\n\r\n", |_| Ok(())).is_err(), "an end is an end");
    }
}
