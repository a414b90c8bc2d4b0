//! Tags: a small set of words.

use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, Reason};
use crate::limits::{MAX_TAG_LENGTH, MAX_TAGS};

/// A set of tags. In JSON an array of strings; order and repetition do not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Tags {
    /// In order, each once.
    tags: Box<[Box<str>]>,
}

impl Tags {
    /// A set of tags.
    ///
    /// # Errors
    /// More than [`MAX_TAGS`]; one that is empty, longer than [`MAX_TAG_LENGTH`] bytes, or with a control character.
    pub fn new<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Result<Self, Invalid> {
        let mut set = Vec::new();
        for (index, tag) in tags.into_iter().enumerate() {
            let tag = tag.as_ref();
            if index == MAX_TAGS {
                let expected = format!("at most {MAX_TAGS} tags");
                return Err(Invalid::at("tags", Reason::expected(expected, "more")));
            }
            if tag.is_empty() || tag.len() > MAX_TAG_LENGTH || tag.chars().any(char::is_control) {
                let expected = format!("1 to {MAX_TAG_LENGTH} bytes without control characters");
                return Err(Invalid::at(
                    format!("tags[{index}]"),
                    Reason::expected(expected, format!("{tag:?}")),
                ));
            }
            set.push(Box::from(tag));
        }
        set.sort_unstable();
        set.dedup();
        Ok(Self { tags: set.into_boxed_slice() })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// The tags, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(AsRef::as_ref)
    }

    /// Whether all of others are among them.
    #[must_use]
    pub fn has_all(&self, others: &Self) -> bool {
        let mut own = self.iter();
        others.iter().all(|other| own.by_ref().find(|tag| *tag >= other) == Some(other))
    }

    /// Whether one of others is among them.
    #[must_use]
    pub fn has_any(&self, others: &Self) -> bool {
        others.tags.iter().any(|other| self.tags.binary_search(other).is_ok())
    }
}

impl TryFrom<Vec<String>> for Tags {
    type Error = Invalid;

    fn try_from(tags: Vec<String>) -> Result<Self, Invalid> {
        Self::new(tags)
    }
}

impl From<Tags> for Vec<String> {
    fn from(tags: Tags) -> Self {
        tags.iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_a_set(
            one in prop::collection::vec("[a-d]", 0..5),
            other in prop::collection::vec("[a-d]", 0..5),
        ) {
            let (first, second) = (Tags::new(&one).unwrap(), Tags::new(&other).unwrap());
            let (one, other): (BTreeSet<String>, BTreeSet<String>) =
                (one.into_iter().collect(), other.into_iter().collect());
            prop_assert_eq!(first.has_all(&second), other.is_subset(&one));
            prop_assert_eq!(first.has_any(&second), !other.is_disjoint(&one));
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let refused = |tags: &[&str]| Tags::new(tags).unwrap_err().to_string();
        assert_eq!(
            refused(&["plumber", ""]),
            "tags[1]: expected 1 to 64 bytes without control characters, got \"\""
        );
        assert!(refused(&["a\nb"]).starts_with("tags[0]"));
        assert!(refused(&[&"x".repeat(65)]).starts_with("tags[0]"));
        assert_eq!(refused(&["x"; 33]), "tags: expected at most 32 tags, got more");
        let json = serde_json::from_str::<Tags>(r#"["b", "a", "b"]"#).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), r#"["a","b"]"#);
    }
}
