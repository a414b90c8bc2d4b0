//! The OpenAPI document, and whether the server is what it says: schemathesis makes requests of the document, sound ones and
//! others, and holds the answers against it. `tests/openapi/` says how it looks, and what it leaves out, each with its reason.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;
use tokio::process::Command;

use crate::world::{World, id, in_time, person, token};

/// What a test asks of the server in all, in less than the seconds of the limits.
const LIMITS: &str = "[limits]
requests = { count = 1_000_000, seconds = 5 }
service-requests = { count = 1_000_000, seconds = 5 }
publishes = { count = 100_000_000, seconds = 5 }
";
/// Requests of each kind for each operation, beside those at the bounds of each field.
const EXAMPLES: &str = "8";
/// It is long done by then; what hangs is said.
const PATIENCE: Duration = Duration::from_secs(300);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn python(program: &str) -> PathBuf {
    let program = folder().join("../target/python/bin").join(program);
    assert!(program.exists(), "{} is missing: ./test.sh makes it", program.display());
    program
}

async fn document(world: &World) -> Value {
    let answer = world.http.get(world.url("/openapi.json")).send().await.expect("an answer");
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    answer.json().await.expect("JSON")
}

/// Lets schemathesis ask a server everything it can think of, as somebody.
async fn no_surprises(token: &str) {
    let world = World::with_configuration(LIMITS).await;
    let note = json!({
        "type": "note", "title": "Hello", "audience": { "users": ["ada"], "channels": ["topic:orders"] },
        "action": { "url": "/here" },
    });
    let published = world.publish(note).await;
    let how = std::fs::read_to_string(folder().join("openapi/schemathesis.toml")).expect("it is there");
    let hooks = folder().join("openapi/hooks.py");
    let how = format!("hooks = '{}'\n{}", hooks.display(), how.replace("ID", &id(&published)));
    let settings = world.directory.path().join("schemathesis.toml");
    std::fs::write(&settings, how).expect("a file");

    let mut command = Command::new(python("st"));
    command.arg("--config-file").arg(&settings).args(["run", &world.url("/openapi.json")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--no-color"]);
    command.args(["--continue-on-failure", "--request-timeout", "20", "--workers", "2"]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.current_dir(world.directory.path()).kill_on_drop(true);
    let asked = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends");
    let output = asked.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
    assert!(world.answers_all(&[&person("ada")]).await, "it goes on");
}

#[tokio::test]
async fn whatever_an_operator_asks_is_answered_as_the_document_says() {
    let scopes = ["publish", "admin", "operator"].map(str::to_owned).to_vec();
    let user = Some("ada".to_owned());
    no_surprises(&token(&Grant { user, scopes, channels: vec!["topic:*".to_owned()], ..Grant::default() }))
        .await;
}

#[tokio::test]
async fn whatever_a_person_asks_is_answered_as_the_document_says() {
    no_surprises(&person("ada")).await;
}

#[tokio::test]
async fn the_document_is_openapi_and_the_same_with_and_without_a_server() {
    let world = World::start().await;
    let served = document(&world).await;
    let output = in_time("the command", world.command(&["openapi"]).output()).await.expect("it runs");
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON"), served);
    let file = world.directory.path().join("openapi.json");
    std::fs::write(&file, &output.stdout).expect("a file");
    let checked = Command::new(python("openapi-spec-validator")).arg(&file).output().await.expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert_eq!(served["openapi"], "3.1.0");
}

/// Each operation as its examples show it, asked by somebody; the statuses that came without being documented.
async fn undocumented(world: &World, token: impl Fn(&str) -> String) -> (Vec<String>, Vec<StatusCode>) {
    let (mut surprises, mut came) = (Vec::new(), Vec::new());
    let served = document(world).await;
    for (path, operations) in served["paths"].as_object().expect("paths") {
        for (method, said) in operations.as_object().expect("operations") {
            let id = said["operationId"].as_str().expect("an id");
            let (mut url, mut query) = (path.clone(), String::from("?"));
            for parameter in said["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("a name");
                match (parameter["in"].as_str(), parameter["example"].as_str()) {
                    (Some("path"), Some(example)) => url = url.replace(&format!("{{{name}}}"), example),
                    (_, Some(example)) => query.push_str(&format!("{name}={example}")),
                    _ => {}
                }
            }
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let mut request = world.request(method, &format!("{url}{query}"), &token(id));
            let example = &said["requestBody"]["content"]["application/json"]["example"];
            if !example.is_null() {
                request = request.json(example);
            }
            let status = in_time(id, request.send()).await.expect("an answer").status();
            came.push(status);
            if said["responses"].get(status.as_str()).is_none() {
                surprises.push(format!("{id}: {status}"));
            }
        }
    }
    (surprises, came)
}

#[tokio::test]
async fn a_server_whose_disk_is_full_answers_as_the_document_says() {
    let world = World::with_configuration(&format!("reserve-bytes = {}", i64::MAX)).await;
    // Whoever is new is recorded, also when they only read: so everybody is.
    let new = |id: &str| {
        let scopes = ["publish", "admin", "operator"].map(str::to_owned).to_vec();
        let channels = vec!["topic:*".to_owned()];
        token(&Grant { user: Some(id.to_owned()), scopes, channels, ..Grant::default() })
    };
    let (surprises, came) = undocumented(&world, new).await;
    assert_eq!(surprises, [""; 0]);
    let refused = came.iter().filter(|status| **status == StatusCode::INSUFFICIENT_STORAGE).count();
    assert!(refused > 10, "{came:?}");
}

/// Holds every example against its schema.
const EXAMPLES_FIT: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
document = json.load(open(sys.argv[1]))
count = 0
def look(node):
    global count
    if isinstance(node, dict):
        if 'example' in node and 'schema' in node:
            count += 1
            schema = {**node['schema'], 'components': document['components']}
            Validator(schema, format_checker=Validator.FORMAT_CHECKER).validate(node['example'])
        for inner in node.values():
            look(inner)
    elif isinstance(node, list):
        for inner in node:
            look(inner)
look(document)
print(count)
";

#[tokio::test]
async fn the_examples_of_the_document_are_what_it_says() {
    let world = World::start().await;
    let file = world.directory.path().join("openapi.json");
    std::fs::write(&file, document(&world).await.to_string()).expect("a file");
    let checked =
        Command::new(python("python")).args(["-c", EXAMPLES_FIT]).arg(&file).output().await.expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let count: usize = String::from_utf8_lossy(&checked.stdout).trim().parse().expect("a number");
    assert!(count > 40, "{count}");
}

#[tokio::test]
async fn the_document_names_every_path_that_documents_name_and_each_is_there() {
    let world = World::start().await;
    let served = document(&world).await;
    let paths = served["paths"].as_object().expect("paths");
    // What is told to people: `GET /v1/inbox`, `/wake` in a table is of the path before it.
    let told = include_str!("../docs/http.md");
    let named = told.split('`').filter_map(|code| code.split_once(' ')).filter_map(|(methods, path)| {
        let methods: Vec<&str> = methods.split(',').map(str::trim).collect();
        let is_one = methods.iter().all(|method| ["GET", "POST", "PUT", "DELETE"].contains(method));
        (is_one && path.starts_with('/')).then(|| path.split(['?', ',']).next().unwrap_or_default())
    });
    let mut count = 0;
    for path in named.filter(|path| !path.contains("{change}") && !path.starts_with("/demo")) {
        assert!(paths.contains_key(path), "{path}");
        count += 1;
    }
    assert!(count > 25, "{count}");
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let path = path.replace(['{', '}'], "");
            let answer =
                world.http.request(method.clone(), world.url(&path)).send().await.expect("an answer");
            assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let text = answer.text().await.unwrap_or_default();
            assert!(!text.contains("there is nothing at"), "{method} {path}");
        }
    }
}
