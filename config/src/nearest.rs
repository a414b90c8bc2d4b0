//! The name that was probably meant.

/// How alike two names have to be, from 0 to 1: a letter or two that is wrong, missing, or too many.
const ALIKE_LEAST: f64 = 0.6;
/// Letters of a name that are the beginning of too many others.
const SHORT: usize = 3;

/// The candidate that a name is most like, if it is like any.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = plain(name);
    let alike = |candidate: &str| strsim::normalized_damerau_levenshtein(&name, &plain(candidate));
    let scored = candidates.into_iter().map(|candidate| (alike(candidate), candidate));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= ALIKE_LEAST).then_some(best.1)
}

/// `dataDir`, `data_dir` and `data-dir` are the same to somebody who remembers a name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// The known key that an unknown one probably stands for: a sister's, or one of another section with the same name.
pub(crate) fn nearest_key(key: &str, sisters: &[String], known: &[&str]) -> Option<String> {
    let (section, name) = key.rsplit_once('.').map_or(("", key), |(section, name)| (section, name));
    if let Some(sister) = nearest(name, sisters.iter().map(String::as_str)) {
        return Some(if section.is_empty() { sister.to_owned() } else { format!("{section}.{sister}") });
    }
    let known: Vec<&str> = known.iter().copied().filter(|outer| !is_within(key, outer)).collect();
    let name_of = |key: &str| plain(key.rsplit('.').next().unwrap_or(key));
    let namesake = known.iter().find(|other| name_of(other) == plain(name));
    let begins = |other: &&&str| plain(other).starts_with(&plain(key)) && key.len() > SHORT;
    namesake
        .or_else(|| known.iter().find(begins))
        .copied()
        .or_else(|| nearest(key, known.iter().copied()))
        .map(str::to_owned)
}

/// Whether a key is another one, or lies within it.
pub(crate) fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_nothing_far_away() {
        let known = ["listen", "data-dir", "log.level", "token.secret"];
        let sisters: Vec<String> = ["listen", "data-dir", "log", "token"].map(str::to_owned).into();
        assert_eq!(nearest_key("lisen", &sisters, &known).as_deref(), Some("listen"));
        assert_eq!(nearest_key("dataDir", &sisters, &known).as_deref(), Some("data-dir"));
        assert_eq!(nearest_key("level", &sisters, &known).as_deref(), Some("log.level"));
        assert_eq!(nearest_key("log.levle", &["level".to_owned()], &known).as_deref(), Some("log.level"));
        assert_eq!(nearest_key("token.sec", &[], &known).as_deref(), Some("token.secret"));
        assert_eq!(nearest_key("port", &sisters, &known), None);
        assert_eq!(nearest_key("listen.x", &[], &known), None);
    }
}
