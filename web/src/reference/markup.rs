//! Text into HTML: nothing that it says is markup.

/// Text as HTML; what stands in backticks is code.
pub(super) fn text(plain: &str) -> String {
    let mut html = String::with_capacity(plain.len());
    for (index, part) in plain.split('`').enumerate() {
        match index % 2 {
            0 => html.push_str(&escaped(part)),
            _ => html.extend(["<code>", &escaped(part), "</code>"]),
        }
    }
    html
}

/// The same, a paragraph where a line is empty.
pub(super) fn paragraphs(plain: &str) -> String {
    let paragraphs = plain.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", text(paragraph))).collect()
}

fn escaped(plain: &str) -> String {
    let mut html = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(text("a <b> & `\"c\"` 'd'"), "a &lt;b&gt; &amp; <code>&quot;c&quot;</code> &#39;d&#39;");
        assert_eq!(paragraphs("one\n\n\n\ntwo"), "<p>one</p><p>two</p>");
    }
}
