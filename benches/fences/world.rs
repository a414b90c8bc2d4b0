//! The fences: 80 % circles of 0.3 to 15 km, 20 % polygons of 6 to 40 corners, of which 30 % have a hole, around 300 cities,
//! twelve of them near a pole or the antimeridian. A place in a city is in about twenty of a million.

use tidings_geofence::Position;
use tidings_geofence::geometry::{Circle, Edges, Polygon, Polygons, Ring, Shape, Vertex};
use tidings_geofence::index::{Fence, FenceId, OwnerId};

/// How far from the middle of a city most are, in metres.
const SPREAD: f64 = 34_000.0;

/// Metres of a degree of latitude.
const DEGREE: f64 = 111_195.08;

/// A fence before anybody has made something of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Longitude and latitude of its middle.
    pub middle: [f64; 2],
    /// Metres.
    pub radius: f64,
    /// The rings of a polygon; none for a circle.
    pub rings: Vec<Vec<[f64; 2]>>,
    city: [f64; 2],
}

/// Cities, and what is in them at random; the same from run to run.
pub struct World {
    random: u64,
    cities: Vec<[f64; 2]>,
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut world = Self { random: seed | 1, cities: Vec::new() };
        world.cities = (0..300).map(|at| world.city(at)).collect();
        world
    }

    fn city(&mut self, at: u32) -> [f64; 2] {
        let (one, other) = (self.part(), self.part());
        match at {
            0..2 => [one * 360.0 - 180.0, 89.7],
            2..4 => [one * 360.0 - 180.0, -89.7],
            4..12 => [179.95, one * 120.0 - 60.0],
            _ => [one * 360.0 - 180.0, (other * 1.8 - 0.9).asin().to_degrees()],
        }
    }

    /// 0 to 1.
    pub fn part(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A place in a city.
    fn place_in(&mut self, city: [f64; 2]) -> [f64; 2] {
        let away = SPREAD * (-2.0 * (1.0 - self.part()).ln()).sqrt();
        let angle = self.part() * std::f64::consts::TAU;
        moved(city, away, angle)
    }

    fn any_city(&mut self) -> [f64; 2] {
        let which = self.part() * self.cities.len() as f64;
        self.cities[which as usize]
    }

    /// A place in any of the cities.
    pub fn place(&mut self) -> [f64; 2] {
        let city = self.any_city();
        self.place_in(city)
    }

    /// A fence in any of the cities.
    pub fn fence(&mut self) -> Sample {
        let city = self.any_city();
        let middle = self.place_in(city);
        let radius = 300.0 * 50f64.powf(self.part());
        let mut rings = Vec::new();
        if self.part() < 0.2 {
            let corners = 6 + (self.part() * 35.0) as usize;
            rings.push(self.outer(middle, radius, corners));
            if self.part() < 0.3 {
                rings.push(self.hole(middle, radius));
            }
        }
        Sample { middle, radius, rings, city }
    }

    /// The same fence at another place of its city.
    pub fn move_fence(&mut self, sample: &Sample) -> Sample {
        let middle = self.place_in(sample.city);
        let mut rings = Vec::new();
        if let Some(ring) = sample.rings.first() {
            rings.push(self.outer(middle, sample.radius, ring.len() - 1));
        }
        if sample.rings.len() > 1 {
            rings.push(self.hole(middle, sample.radius));
        }
        Sample { middle, rings, ..*sample }
    }

    fn outer(&mut self, middle: [f64; 2], radius: f64, corners: usize) -> Vec<[f64; 2]> {
        self.star(middle, radius, corners, 0.5, 1.0)
    }

    fn hole(&mut self, middle: [f64; 2], radius: f64) -> Vec<[f64; 2]> {
        self.star(middle, radius, 6, 0.1, 0.3)
    }

    fn star(&mut self, middle: [f64; 2], radius: f64, corners: usize, low: f64, high: f64) -> Vec<[f64; 2]> {
        let turn = std::f64::consts::TAU / corners as f64;
        let mut ring: Vec<[f64; 2]> = (0..corners)
            .map(|at| moved(middle, radius * (low + (high - low) * self.part()), at as f64 * turn))
            .collect();
        ring.push(ring[0]);
        ring
    }
}

/// A place so many metres away, to the left of east by an angle: longitude and latitude.
fn moved([lon, lat]: [f64; 2], metres: f64, angle: f64) -> [f64; 2] {
    let (from, distance) = (Position::new(lat, lon).expect("a place").vector(), metres / DEGREE);
    let (east, north) = (angle.cos(), angle.sin());
    let length = from.x.hypot(from.y).max(1e-12);
    let (east_x, east_y) = (-from.y / length, from.x / length);
    let (north_x, north_y) = (-from.z * from.x / length, -from.z * from.y / length);
    let sine = distance.to_radians().sin();
    let cosine = distance.to_radians().cos();
    let x = from.x * cosine + (east_x * east + north_x * north) * sine;
    let y = from.y * cosine + (east_y * east + north_y * north) * sine;
    let z = from.z * cosine + length * north * sine;
    [y.atan2(x).to_degrees(), z.atan2(x.hypot(y)).to_degrees()]
}

impl Sample {
    /// What it encloses.
    ///
    /// # Panics
    /// Never: it is valid.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let [lon, lat] = self.middle;
        if self.rings.is_empty() {
            let centre = Position::new(lat, lon).expect("a place");
            return Circle::new(centre, self.radius).expect("a circle").shape();
        }
        let ring =
            |ring: &Vec<[f64; 2]>| -> Ring { ring.iter().map(|&[lon, lat]| Vertex { lon, lat }).collect() };
        let polygon = Polygon { rings: self.rings.iter().map(ring).collect() };
        let checked = Polygons::new(vec![polygon], Edges::GreatCircles, |_, _| String::new());
        checked.expect("a polygon").shape().clone()
    }

    /// The same for the index.
    #[must_use]
    pub fn fence(&self, number: usize) -> Fence {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Fence {
            id: FenceId { owner: OwnerId(number / 3), number: number % 3 },
            shape: self.shape(),
            conditions: None,
        }
    }
}
