//! Ten thousand cases that other libraries have answered: `oracle/record.py` made them, and says with which.

use serde_json::Value;
use tidings_geofence::Position;
use tidings_geofence::geojson::Feature;

const CASES: &str = include_str!("../../oracle/cases.jsonl");

#[test]
fn every_recorded_case_is_answered_as_it_was_recorded() {
    let (mut cases, mut inside, mut wrong) = (0, 0, Vec::new());
    for (line, text) in CASES.lines().enumerate() {
        let record: Value = serde_json::from_str(text).unwrap();
        let area =
            Feature::read(&record["fence"]).unwrap_or_else(|error| panic!("line {line}: {error}")).area;
        let shape = area.shape();
        for (key, expected) in [("inside", true), ("outside", false)] {
            for at in record[key].as_array().unwrap() {
                let at = Position::new(at[1].as_f64().unwrap(), at[0].as_f64().unwrap()).unwrap();
                cases += 1;
                inside += usize::from(expected);
                if shape.contains(at.vector()) != expected {
                    wrong.push(format!("line {}: {at:?} should be {key}", line + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}, the first: {}", wrong.len(), wrong[0]);
    assert_eq!(cases, 10_000);
    assert!((3_000..7_000).contains(&inside), "{inside}");
}
