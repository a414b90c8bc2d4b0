//! GeoJSON out.

use serde_json::{Value, json};

use super::Feature;
use crate::geometry::{Area, Edges, Polygon};

pub(super) fn feature(feature: &Feature) -> Value {
    let mut properties = feature.properties.clone();
    let geometry = match &feature.area {
        Area::Circle(circle) => {
            properties.insert("radius".to_owned(), json!(circle.radius()));
            let centre = circle.centre();
            json!({"type": "Point", "coordinates": [centre.lon(), centre.lat()]})
        }
        Area::Polygons(polygons) => {
            if polygons.edges() == Edges::GreatCircles {
                properties.insert("edges".to_owned(), json!("great-circle"));
            }
            match polygons.polygons() {
                [one] => json!({"type": "Polygon", "coordinates": coordinates(one)}),
                many => {
                    let all: Vec<Value> = many.iter().map(coordinates).collect();
                    json!({"type": "MultiPolygon", "coordinates": all})
                }
            }
        }
    };
    json!({"type": "Feature", "geometry": geometry, "properties": properties})
}

fn coordinates(polygon: &Polygon) -> Value {
    let rings = polygon.rings.iter();
    rings.map(|ring| ring.iter().map(|vertex| json!([vertex.lon, vertex.lat])).collect::<Value>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_again() {
        let ring = json!([[179.0, 0.5], [181.0, 0.5], [180.0, 2.25], [179.0, 0.5]]);
        let all = [
            json!({"type": "Polygon", "coordinates": [ring]}),
            json!({"type": "MultiPolygon", "coordinates": [[ring], [[[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, 0.0]]]]}),
        ];
        // The two polygons are too far apart; so the second is alone.
        for (geometry, is_sound) in all.iter().zip([true, false]) {
            let properties = json!({"name": "over there", "edges": "great-circle"});
            let json = json!({"type": "Feature", "geometry": geometry, "properties": properties});
            let read = Feature::read(&json);
            assert_eq!(read.is_ok(), is_sound);
            if let Ok(read) = read {
                assert_eq!(read.write(), json);
                assert_eq!(Feature::read(&read.write()).unwrap(), read);
            }
        }
        let circle = json!({
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [-180.0, 7.5]},
            "properties": {"radius": 250.0},
        });
        assert_eq!(Feature::read(&circle).unwrap().write(), circle);
    }

    #[test]
    fn rings_come_out_with_the_right_hand_rule() {
        let clockwise = json!([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0], [0.0, 0.0]]);
        let hole = json!([[3.0, 3.0], [6.0, 3.0], [6.0, 6.0], [3.0, 6.0], [3.0, 3.0]]);
        let read = Feature::read(&json!({"type": "Polygon", "coordinates": [clockwise, hole]})).unwrap();
        let expected = json!([
            [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0], [0.0, 0.0]],
            [[3.0, 3.0], [3.0, 6.0], [6.0, 6.0], [6.0, 3.0], [3.0, 3.0]],
        ]);
        assert_eq!(read.write()["geometry"]["coordinates"], expected);
        assert_eq!(read.write()["properties"], json!({}));
    }
}
