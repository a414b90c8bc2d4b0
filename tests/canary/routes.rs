//! The routes that there are, as the server's own document names them, and those that it has answered, as it counts them.

use std::collections::BTreeSet;

use serde_json::Value;

/// A method and a route.
pub type Route = (String, String);

/// Every route of the OpenAPI document, which is made of what is mounted.
pub fn declared(document: &Value) -> BTreeSet<Route> {
    let paths = document["paths"].as_object().unwrap();
    let routes = paths.iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    routes.collect()
}

/// What a server has answered without refusing it, by its metrics.
pub fn answered(metrics: &str) -> BTreeSet<Route> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("tidings_http_requests_total{"));
    let labels = lines.filter_map(|line| line.rsplit_once('}')).map(|(labels, _)| labels);
    labels
        .filter(|labels| {
            ["status=\"1", "status=\"2", "status=\"3"].iter().any(|status| labels.contains(status))
        })
        .map(|labels| {
            let label = |name: &str| {
                let (_, rest) =
                    labels.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{labels}"));
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            (label("method"), label("route"))
        })
        .collect()
}
