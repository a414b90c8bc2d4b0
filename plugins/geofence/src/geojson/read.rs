//! GeoJSON in: every error says where.

use serde_json::{Map, Value};

use super::Feature;
use crate::geometry::{Area, Circle, Edges, Polygon, Polygons, Vertex};
use crate::invalid::{Invalid, Reason};
use crate::limits::{MAX_RINGS, MAX_VERTICES};
use crate::position::Position;

const GEOMETRIES: &str =
    "a Polygon, a MultiPolygon, or a Feature of one or of a Point with the property radius";

pub(super) fn feature(json: &Value) -> Result<Feature, Invalid> {
    let object = object(json, "")?;
    check_crs(object, "crs")?;
    if kind(object, "type")? != "Feature" {
        return Ok(Feature { area: polygons(object, "", Edges::default())?, properties: Map::new() });
    }
    let mut properties = match object.get("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties.clone(),
        Some(other) => {
            return Err(Invalid::at("properties", Reason::expected("an object or null", name(other))));
        }
    };
    let geometry = self::object(object.get("geometry").unwrap_or(&Value::Null), "geometry")?;
    check_crs(geometry, "geometry.crs")?;
    let area = if kind(geometry, "geometry.type")? == "Point" {
        circle(geometry, properties.remove("radius"))?
    } else {
        polygons(geometry, "geometry.", edges(properties.remove("edges"))?)?
    };
    Ok(Feature { area, properties })
}

fn check_crs(object: &Map<String, Value>, place: &str) -> Result<(), Invalid> {
    if object.contains_key("crs") {
        let expected = Reason::expected("no crs: coordinates are WGS 84, longitude first", "one");
        return Err(Invalid::at(place, expected));
    }
    Ok(())
}

fn circle(geometry: &Map<String, Value>, radius: Option<Value>) -> Result<Area, Invalid> {
    let place = "geometry.coordinates";
    let vertex = vertex(geometry.get("coordinates").unwrap_or(&Value::Null), place)?;
    let axis = |reason: &Reason| u8::from(matches!(reason, Reason::Latitude(_)));
    let centre = Position::new(vertex.lat, vertex.lon)
        .map_err(|reason| Invalid::at(format!("{place}[{}]", axis(&reason)), reason))?;
    let radius = radius.unwrap_or(Value::Null);
    let metres = radius
        .as_f64()
        .ok_or_else(|| Invalid::at("properties.radius", Reason::expected("metres", name(&radius))))?;
    let circle = Circle::new(centre, metres).map_err(|reason| Invalid::at("properties.radius", reason))?;
    Ok(Area::Circle(circle))
}

fn edges(edges: Option<Value>) -> Result<Edges, Invalid> {
    match edges.as_ref().map(|edges| edges.as_str().ok_or(edges)) {
        None | Some(Ok("straight")) => Ok(Edges::Straight),
        Some(Ok("great-circle")) => Ok(Edges::GreatCircles),
        Some(other) => {
            let got = other.map_or_else(|json| name(json).to_owned(), |text| format!("{text:?}"));
            Err(Invalid::at("properties.edges", Reason::expected("straight or great-circle", got)))
        }
    }
}

fn polygons(geometry: &Map<String, Value>, prefix: &str, edges: Edges) -> Result<Area, Invalid> {
    let place = format!("{prefix}coordinates");
    let coordinates = geometry.get("coordinates").unwrap_or(&Value::Null);
    let mut size = Size::default();
    let kind = kind(geometry, &format!("{prefix}type"))?;
    let is_many = kind == "MultiPolygon";
    let polygons = match kind {
        "Polygon" => vec![polygon(coordinates, &place, &mut size)?],
        // Each has a ring at least.
        "MultiPolygon" => check_count(coordinates, &place)
            .and_then(|()| each(coordinates, &place, |json, place| polygon(json, place, &mut size)))?,
        other => return Err(Invalid::at(format!("{prefix}type"), Reason::expected(GEOMETRIES, other))),
    };
    let ring_place = |polygon: usize, ring: usize| {
        if is_many { format!("{place}[{polygon}][{ring}]") } else { format!("{place}[{ring}]") }
    };
    let checked = Polygons::new(polygons, edges, ring_place).map_err(|invalid| {
        // What concerns all of it.
        if invalid.place.is_empty() { Invalid::at(place.clone(), invalid.reason) } else { invalid }
    })?;
    Ok(Area::Polygons(checked))
}

/// How much was read, so that reading ends when it is too much.
#[derive(Default)]
struct Size {
    rings: usize,
    vertices: usize,
}

fn polygon(json: &Value, place: &str, size: &mut Size) -> Result<Polygon, Invalid> {
    check_count(json, place)?;
    let rings = each(json, place, |json, place| {
        size.rings += 1;
        if size.rings > MAX_RINGS {
            return Err(Invalid::at(place, Reason::TooManyRings(size.rings)));
        }
        size.vertices += json.as_array().map_or(0, Vec::len);
        if size.vertices > MAX_VERTICES {
            return Err(Invalid::at(place, Reason::TooManyPositions(size.vertices)));
        }
        each(json, place, vertex)
    })?;
    Ok(Polygon { rings })
}

/// Refuses more rings, or polygons, than there may be before any is read.
fn check_count(json: &Value, place: &str) -> Result<(), Invalid> {
    let count = json.as_array().map_or(0, Vec::len);
    if count > MAX_RINGS { Err(Invalid::at(place, Reason::TooManyRings(count))) } else { Ok(()) }
}

fn vertex(json: &Value, place: &str) -> Result<Vertex, Invalid> {
    let wrong = |count: usize| {
        let expected = "longitude, latitude and perhaps a height";
        Invalid::at(place, Reason::expected(expected, format!("{count} numbers")))
    };
    if let Some(long) = json.as_array().filter(|array| array.len() > 3) {
        return Err(wrong(long.len()));
    }
    let numbers = each(json, place, |json, place| {
        json.as_f64().ok_or_else(|| Invalid::at(place, Reason::expected("a number", name(json))))
    })?;
    match numbers[..] {
        [lon, lat] | [lon, lat, _] => Ok(Vertex { lon, lat }),
        _ => Err(wrong(numbers.len())),
    }
}

fn each<T>(
    json: &Value,
    place: &str,
    mut read: impl FnMut(&Value, &str) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let array =
        json.as_array().ok_or_else(|| Invalid::at(place, Reason::expected("an array", name(json))))?;
    array.iter().enumerate().map(|(index, json)| read(json, &format!("{place}[{index}]"))).collect()
}

fn object<'a>(json: &'a Value, place: &str) -> Result<&'a Map<String, Value>, Invalid> {
    json.as_object().ok_or_else(|| Invalid::at(place, Reason::expected(GEOMETRIES, name(json))))
}

fn kind<'a>(object: &'a Map<String, Value>, place: &str) -> Result<&'a str, Invalid> {
    let kind = object.get("type").unwrap_or(&Value::Null);
    kind.as_str().ok_or_else(|| Invalid::at(place, Reason::expected(GEOMETRIES, name(kind))))
}

/// What a value is, for a message.
fn name(json: &Value) -> &'static str {
    match json {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(json: Value) -> String {
        feature(&json).unwrap_err().to_string()
    }

    fn polygon_of(ring: Value) -> Value {
        json!({"type": "Polygon", "coordinates": [ring]})
    }

    #[test]
    fn every_refusal_names_the_place() {
        let ring = json!([[0, 0], [1, 0], [1, 95], [0, 0]]);
        let latitude = "coordinates[0][2][1]: latitude 95 is beyond 90";
        assert_eq!(refused(polygon_of(ring.clone())), latitude);
        let inside = json!({"type": "Feature", "properties": null, "geometry": polygon_of(ring.clone())});
        assert_eq!(refused(inside), format!("geometry.{latitude}"));
        let second =
            json!({"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 0]]], [ring]]});
        assert_eq!(refused(second), "coordinates[1][0][2][1]: latitude 95 is beyond 90");
        assert_eq!(
            refused(polygon_of(json!([[0, 0], ["1", 0]]))),
            "coordinates[0][1][0]: expected a number, got a string"
        );
        assert_eq!(
            refused(polygon_of(json!([[0, 0], [1]]))),
            "coordinates[0][1]: expected longitude, latitude and perhaps a height, got 1 numbers"
        );
        assert_eq!(refused(json!({"type": "Polygon"})), "coordinates: expected an array, got nothing");
        assert_eq!(
            refused(polygon_of(json!([[0, 0], [80, 0], [80, 80], [0, 80], [0, 0]]))),
            "coordinates: reaches farther than 5000 km from its centre"
        );
    }

    #[test]
    fn what_is_no_area_is_refused() {
        assert!(refused(json!([])).starts_with("expected a Polygon"));
        assert!(
            refused(json!({"type": "FeatureCollection", "features": []}))
                .starts_with("type: expected a Poly")
        );
        let line = json!({"type": "Feature", "geometry": {"type": "LineString", "coordinates": []}});
        assert!(refused(line).starts_with("geometry.type: expected a Polygon"));
        assert!(refused(json!({"type": "Feature", "geometry": null})).starts_with("geometry: expected"));
        assert!(
            refused(json!({"type": "Polygon", "crs": {}, "coordinates": []}))
                .starts_with("crs: expected no crs")
        );
        let inside = json!({"type": "Polygon", "crs": null, "coordinates": []});
        assert!(
            refused(json!({"type": "Feature", "geometry": inside}))
                .starts_with("geometry.crs: expected no crs")
        );
        assert_eq!(
            refused(json!({"type": "Polygon", "coordinates": []})),
            "coordinates[0]: expected at least one ring"
        );
        assert_eq!(
            refused(json!({"type": "MultiPolygon", "coordinates": []})),
            "coordinates: expected at least one ring"
        );
        let many = json!({"type": "MultiPolygon", "coordinates": vec![[[0; 0]]; 101]});
        assert_eq!(refused(many), "coordinates: expected at most 100 rings, got 101");
        let many = json!({"type": "Polygon", "coordinates": vec![0; 101]});
        assert_eq!(refused(many), "coordinates: expected at most 100 rings, got 101");
        let long = polygon_of(json!([["not", "read", "for", "it", "is", "long"]]));
        assert!(
            refused(long)
                .ends_with("[0][0]: expected longitude, latitude and perhaps a height, got 6 numbers")
        );
    }

    #[test]
    fn circles_are_points_with_a_radius() {
        let circle = |coordinates: Value, properties: Value| json!({"type": "Feature", "properties": properties, "geometry": {"type": "Point", "coordinates": coordinates}});
        let read =
            feature(&circle(json!([13.4, 52.5, 34.0]), json!({"radius": 500, "name": "here"}))).unwrap();
        let centre = Position::new(52.5, 13.4).unwrap();
        assert_eq!(read.area, Area::Circle(Circle::new(centre, 500.0).unwrap()));
        assert_eq!(Value::Object(read.properties), json!({"name": "here"}));
        let wrong = |coordinates, properties| refused(circle(coordinates, properties));
        assert_eq!(wrong(json!([13, 52]), json!(null)), "properties.radius: expected metres, got nothing");
        assert_eq!(
            wrong(json!([13, 52]), json!({"radius": 0})),
            "properties.radius: expected a radius from 1 to 5000000 metres, got 0"
        );
        assert_eq!(
            wrong(json!([190, 52]), json!({"radius": 5})),
            "geometry.coordinates[0]: longitude 190 is beyond 180"
        );
        assert_eq!(
            wrong(json!([13, 92]), json!({"radius": 5})),
            "geometry.coordinates[1]: latitude 92 is beyond 90"
        );
    }

    #[test]
    fn edges_are_named() {
        let with = |edges: Value| {
            let square = json!([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]);
            feature(
                &json!({"type": "Feature", "properties": {"edges": edges}, "geometry": polygon_of(square)}),
            )
        };
        let edges = |read: Feature| match read.area {
            Area::Polygons(polygons) => polygons.edges(),
            Area::Circle(_) => panic!("a circle"),
        };
        assert_eq!(edges(with(json!("straight")).unwrap()), Edges::Straight);
        assert_eq!(edges(with(json!("great-circle")).unwrap()), Edges::GreatCircles);
        assert_eq!(
            with(json!("curved")).unwrap_err().to_string(),
            "properties.edges: expected straight or great-circle, got \"curved\""
        );
        assert!(with(json!(5)).unwrap_err().to_string().ends_with("got a number"));
    }
}
