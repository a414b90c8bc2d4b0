//! How an operation is asked with curl, from the document's own examples.

use serde_json::Value;

/// A command as it is typed: `$TIDINGS` is where the server is, `$TOKEN` who one is.
pub(super) fn curl(method: &str, path: &str, said: &Value) -> String {
    let (mut path, mut query, mut headers) = (path.to_owned(), Vec::new(), Vec::new());
    for parameter in said["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let Some(example) = parameter["example"].as_str() else { continue };
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), example),
            Some("query") => query.push(format!("{name}={example}")),
            _ => headers.push(format!("{name}: {example}")),
        }
    }
    if said["security"].as_array().is_some_and(|ways| !ways.is_empty()) {
        headers.insert(0, "Authorization: Bearer $TOKEN".to_owned());
    }
    let body = said["requestBody"]["content"]["application/json"].get("example");
    let is_plain = matches!((method, body), ("GET", None) | ("POST", Some(_)));
    let verb = if is_plain { String::new() } else { format!("-X {method} ") };
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let mut command = format!("curl {verb}\"$TIDINGS{path}{query}\"");
    headers.iter().for_each(|header| command.push_str(&format!(" \\\n  -H \"{header}\"")));
    if let Some(body) = body {
        command.push_str(&format!(" \\\n  --json '{body:#}'"));
    }
    command
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_has_the_examples_in_their_places() {
        let said = json!({
            "security": [{ "token": [] }],
            "parameters": [
                { "in": "path", "name": "id", "example": "7" },
                { "in": "query", "name": "user", "example": "ada" },
                { "in": "query", "name": "limit" },
            ],
            "requestBody": { "content": { "application/json": { "example": 1 } } },
        });
        assert_eq!(
            curl("PUT", "/v1/x/{id}", &said),
            "curl -X PUT \"$TIDINGS/v1/x/7?user=ada\" \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  --json '1'"
        );
        assert_eq!(curl("GET", "/", &json!({ "security": [] })), "curl \"$TIDINGS/\"");
    }
}
