//! Ids as tokens of subjects, and back. A token holds letters, digits and `-_:@`; every other byte of the id is `%` and two
//! hexadecimal digits. So no id can add a token, be a wildcard, or break a line of the protocol, and two ids never share a token.
//!
//! Nothing else in this crate puts text from outside into a subject.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is escaped: above all `.`, `*`, `>`, white space, control characters, `%` itself, and what is not ASCII.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b':').remove(b'@');
/// A token cannot be empty.
const EMPTY: &str = "%";

/// The token of an id.
pub(crate) fn escape(id: &str) -> String {
    if id.is_empty() { EMPTY.to_owned() } else { utf8_percent_encode(id, ESCAPED).to_string() }
}

/// The id of a token. `None` when it is the token of none: every id has exactly one.
pub(crate) fn unescape(token: &str) -> Option<String> {
    if token == EMPTY {
        return Some(String::new());
    }
    let id = percent_decode_str(token).decode_utf8().ok()?;
    (escape(&id) == token).then(|| id.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_would_be_more_than_a_token_are_one() {
        for (id, token) in [
            ("ada", "ada"),
            ("topic:orders", "topic:orders"),
            ("ada@example.org", "ada@example%2Eorg"),
            ("", "%"),
            ("%", "%25"),
            (">", "%3E"),
            ("*", "%2A"),
            ("a b\t\r\nPUB x 0", "a%20b%09%0D%0APUB%20x%200"),
            ("\u{0}", "%00"),
            ("Ä", "%C3%84"),
            ("$JS.API", "%24JS%2EAPI"),
        ] {
            assert_eq!(escape(id), token, "{id:?}");
            assert_eq!(unescape(token).as_deref(), Some(id), "{token}");
        }
        for none in ["", "%2e", "%zz", "%4", "%61", "%FF", "a b", "ä", "a.b", ">"] {
            assert_eq!(unescape(none), None, "{none:?}");
        }
        assert_eq!(unescape(&escape(&"x.".repeat(1_000))), Some("x.".repeat(1_000)));
    }

    proptest! {
        #[test]
        fn whatever_the_id_its_token_is_plain_and_leads_back(id in any::<String>(), other in any::<String>()) {
            let token = escape(&id);
            prop_assert!(!token.is_empty());
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:@%".contains(&byte)));
            prop_assert_eq!(unescape(&token), Some(id.clone()));
            prop_assert_eq!(token == escape(&other), id == other);
        }
    }
}
