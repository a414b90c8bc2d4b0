//! Tokens that must not let anybody in: forged, odd, for somebody else, of another time. Each is wrong in one way alone,
//! but for those that are signed with what an attacker has.

use serde_json::{Value, json};

use super::forge::{BASE64URL, Keys, base64url, by_secret, pem};

pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "tidings";
pub const TENANT: &str = "shop";

/// What makes a token wrong, and the token.
pub type Attack = (String, String);

pub fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Claims that are as they should be.
pub fn sound() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now(), "exp": now() + 3600 })
}

/// The same, but for some.
pub fn but(changes: Value) -> Value {
    let mut claims = sound();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::String(text) if text == "<none>" => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT", "kid": algorithm })
}

/// All of them. `listener` is a URL where nobody may ever call.
pub fn all(keys: &Keys, other: &Keys, listener: &str) -> Vec<Attack> {
    let mut attacks = Vec::new();
    attacks.extend(of_algorithms(keys));
    attacks.extend(of_key_ids(keys, other));
    attacks.extend(of_embedded_keys(other, listener));
    attacks.extend(of_headers(keys));
    attacks.extend(of_forms(keys));
    attacks.extend(of_signatures(keys));
    attacks.extend(of_claims(keys, other));
    attacks.extend(of_times(keys));
    attacks
}

fn of_algorithms(keys: &Keys) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"] {
        let message = format!(
            "{}.{}",
            base64url(format!(r#"{{"alg":"{none}","kid":"RS256"}}"#).as_bytes()),
            base64url(sound().to_string().as_bytes())
        );
        attacks.push((format!("the algorithm `{none}` without a signature"), format!("{message}.")));
        attacks.push((format!("the algorithm `{none}` with a signature"), keys.signed(&message, "RS256")));
    }
    for public in ["RS256", "ES256", "ES384", "EdDSA"] {
        let (der, text) = (keys.der(public), keys.pem(public));
        let jwk = keys.jwk(public, None);
        let raw = base64url(jwk["x"].as_str().or(jwk["n"].as_str()).unwrap().as_bytes());
        for (form, secret) in [
            ("PEM", text.as_bytes()),
            ("PEM without the last line's end", text.trim_end().as_bytes()),
            ("DER", &der),
            ("JWK", jwk.to_string().as_bytes()),
            ("a coordinate of the JWK", raw.as_bytes()),
        ] {
            for kid in [json!(public), json!("HS512"), Value::Null] {
                let mut header = json!({ "alg": "HS256", "kid": kid });
                if kid.is_null() {
                    header.as_object_mut().unwrap().remove("kid");
                }
                let token = by_secret(secret, &header, &sound());
                attacks.push((format!("the public key of {public} as a secret: {form}, kid {kid}"), token));
            }
        }
    }
    for (kid, algorithm) in [
        ("ES256", "RS256"),
        ("RS256", "ES256"),
        ("RS256", "RS384"),
        ("RS256", "RS512"),
        ("RS256", "PS256"),
        ("PS384", "PS256"),
        ("PS384", "RS384"),
        ("ES256", "ES384"),
        ("ES384", "ES256"),
        ("EdDSA", "ES256"),
        ("HS512", "HS256"),
        ("HS512", "HS384"),
        ("HS512", "RS256"),
    ] {
        let token = keys.token(&json!({ "alg": algorithm, "kid": kid }), &sound());
        attacks.push((format!("{algorithm} with the key for {kid}"), token));
        let message = format!(
            "{}.{}",
            base64url(json!({ "alg": kid, "kid": kid }).to_string().as_bytes()),
            base64url(sound().to_string().as_bytes())
        );
        attacks.push((format!("{kid} said, {algorithm} done"), keys.signed(&message, algorithm)));
    }
    attacks
}

fn of_key_ids(keys: &Keys, other: &Keys) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let long = "k".repeat(9_000);
    for kid in [
        json!("unknown"),
        json!("../../../../dev/null"),
        json!("/proc/self/environ"),
        json!("' UNION SELECT 'secret' --"),
        json!("http://127.0.0.1:1/key"),
        json!("RS256\u{0}"),
        json!("RS256\n"),
        json!("rs256"),
        json!(" RS256"),
        json!(""),
        json!(long),
        json!(1),
        json!(["RS256"]),
        json!({ "kid": "RS256" }),
        json!(true),
    ] {
        let name: String = kid.to_string().chars().take(40).collect();
        let header = json!({ "alg": "RS256", "kid": kid });
        attacks.push((format!("the kid {name}, signed with the key"), keys.token(&header, &sound())));
        attacks.push((format!("the kid {name}, signed with another"), other.token(&header, &sound())));
        let header = json!({ "alg": "HS256", "kid": kid });
        attacks.push((format!("the kid {name}, signed with nothing"), by_secret(b"", &header, &sound())));
    }
    for algorithm in ["RS256", "HS512"] {
        let token = keys.token(&json!({ "alg": algorithm }), &sound());
        attacks.push((format!("{algorithm} without a kid, where several keys could be meant"), token));
    }
    let token = other.token(&header("RS256"), &sound());
    attacks.push(("a key that is nobody's under a known kid".to_owned(), token));
    attacks
}

fn of_embedded_keys(other: &Keys, listener: &str) -> Vec<Attack> {
    let certificate = pem("CERTIFICATE", &other.der("RS256"));
    let line: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let embedded = [
        ("jwk", json!({ "jwk": other.jwk("RS256", Some("RS256")) })),
        ("jwk without a kid", json!({ "jwk": other.jwk("RS256", None), "kid": null })),
        ("x5c", json!({ "x5c": [line] })),
        ("jku", json!({ "jku": format!("{listener}/jku") })),
        ("x5u", json!({ "x5u": format!("{listener}/x5u") })),
        (
            "all of them",
            json!({ "jwk": other.jwk("RS256", None), "jku": listener, "x5u": listener, "x5c": [line] }),
        ),
    ];
    let with = |more: &Value| {
        let mut header = header("RS256");
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    embedded
        .map(|(name, more)| (format!("a key of its own: {name}"), other.token(&with(&more), &sound())))
        .into()
}

fn of_headers(keys: &Keys) -> Vec<Attack> {
    let claims = sound().to_string();
    let texts = [
        ("crit", r#"{"alg":"RS256","kid":"RS256","crit":["exp"],"exp":1}"#),
        ("crit, empty", r#"{"alg":"RS256","kid":"RS256","crit":[]}"#),
        ("crit of b64", r#"{"alg":"RS256","kid":"RS256","crit":["b64"],"b64":false}"#),
        ("crit, no list", r#"{"alg":"RS256","kid":"RS256","crit":"exp"}"#),
        ("two algorithms", r#"{"alg":"none","alg":"RS256","kid":"RS256"}"#),
        ("two algorithms, the other way", r#"{"alg":"RS256","alg":"none","kid":"RS256"}"#),
        ("two kids", r#"{"alg":"RS256","kid":"HS512","kid":"RS256"}"#),
        ("compressed", r#"{"alg":"RS256","kid":"RS256","zip":"DEF"}"#),
        ("encrypted", r#"{"alg":"RS256","kid":"RS256","enc":"A128GCM"}"#),
        ("a logout token", r#"{"alg":"RS256","kid":"RS256","typ":"logout+jwt"}"#),
        ("a security event", r#"{"alg":"RS256","kid":"RS256","typ":"application/secevent+jwt"}"#),
        ("a proof of possession", r#"{"alg":"RS256","kid":"RS256","typ":"dpop+jwt"}"#),
        ("no algorithm", r#"{"kid":"RS256"}"#),
        ("an algorithm that is a number", r#"{"alg":256,"kid":"RS256"}"#),
        ("algorithms in a list", r#"{"alg":["RS256"],"kid":"RS256"}"#),
        ("an algorithm that there is not", r#"{"alg":"RS1","kid":"RS256"}"#),
        ("a header that is a list", r#"["RS256"]"#),
        ("a header that is text", r#""RS256""#),
        ("a header that is null", "null"),
        ("a header with something after it", r#"{"alg":"RS256","kid":"RS256"} {}"#),
        ("a header that ends early", r#"{"alg":"RS256","kid":"RS256""#),
        ("an empty header", ""),
    ];
    let of_text = |(name, text): (&str, &str)| (name.to_owned(), keys.of_text(text, &claims, "RS256"));
    texts.into_iter().map(of_text).collect()
}

fn of_forms(keys: &Keys) -> Vec<Attack> {
    let good = keys.token(&header("RS256"), &sound());
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let resigned = |head: &str, body: &str| keys.signed(&format!("{head}.{body}"), "RS256");
    let mut attacks: Vec<Attack> = [
        ("nothing", String::new()),
        ("a word", "token".to_owned()),
        ("dots", "..".to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("two parts and a dot", format!("{head}.{body}.")),
        ("no header", format!(".{body}.{signature}")),
        ("no claims", format!("{head}..{signature}")),
        ("no claims, signed", resigned(head, "")),
        ("four parts", format!("{good}.{signature}")),
        ("four parts, a dot before", format!(".{good}")),
        ("five parts, as an encrypted token has", format!("{head}.{body}.{body}.{body}.{signature}")),
        ("flattened JSON", json!({ "protected": head, "payload": body, "signature": signature }).to_string()),
        (
            "general JSON",
            json!({ "payload": body, "signatures": [{ "protected": head, "signature": signature }] })
                .to_string(),
        ),
        ("JSON with the header outside", {
            json!({ "header": { "alg": "RS256", "kid": "RS256" }, "payload": body, "signature": signature })
                .to_string()
        }),
        ("padding after the header", resigned(&format!("{head}="), body)),
        ("padding after the claims", resigned(head, &format!("{body}=="))),
        ("padding after the signature", format!("{good}==")),
        ("a space inside", resigned(head, &format!("{} {}", &body[..8], &body[8..]))),
        ("a line's end inside", resigned(head, &format!("{}\n{}", &body[..8], &body[8..]))),
        ("a line's end after", format!("{good}\n")),
        ("the alphabet that URLs cannot hold", resigned(head, &format!("{body}+/+/"))),
        ("another word before", format!("Bearer {good}")),
        ("twice", format!("{good} {good}")),
        ("quoted", format!("\"{good}\"")),
        ("too long, and signed", keys.token(&header("RS256"), &but(json!({ "x": "x".repeat(9_000) })))),
        ("other claims under the same signature", {
            let body = base64url(but(json!({ "sub": "eve" })).to_string().as_bytes());
            format!("{head}.{body}.{signature}")
        }),
        ("another header under the same signature", {
            let head = base64url(json!({ "alg": "RS256", "kid": "RS256", "x": 1 }).to_string().as_bytes());
            format!("{head}.{body}.{signature}")
        }),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into();
    // 256 bytes leave four bits of the last character unused: a decoder that passes over them reads the same signature.
    let last = BASE64URL.iter().position(|c| char::from(*c) == good.chars().last().unwrap()).unwrap();
    let odd = format!("{}{}", &good[..good.len() - 1], char::from(BASE64URL[last | 1]));
    assert_ne!(odd, good);
    attacks.push(("the same signature written another way".to_owned(), odd));
    let nested = format!("{}1{}", "[".repeat(2_500), "]".repeat(2_500));
    for (name, text) in [
        ("a list", "[]".to_owned()),
        ("text", r#""ada""#.to_owned()),
        ("null", "null".to_owned()),
        ("broken off", r#"{"sub":"ada""#.to_owned()),
        ("followed by more", format!("{} {{}}", sound())),
        ("begun with a byte order mark", format!("\u{feff}{}", sound())),
        ("nested beyond reason", nested),
        ("with NaN", sound().to_string().replacen('{', r#"{"x":NaN,"#, 1)),
        ("with a user twice", sound().to_string().replacen('{', r#"{"sub":"eve","#, 1)),
        ("with an end twice", sound().to_string().replacen('{', r#"{"exp":9999999999,"#, 1)),
        ("with an issuer twice", sound().to_string().replacen('{', r#"{"iss":"https://other.example","#, 1)),
        ("with roles twice", sound().to_string().replacen('{', r#"{"roles":"A","roles":"ADMIN","#, 1)),
    ] {
        attacks.push((
            format!("claims that are {name}"),
            keys.of_text(&header("RS256").to_string(), &text, "RS256"),
        ));
    }
    let bytes = base64url(b"{\"sub\":\"\xff\xfe\"}");
    attacks.push(("claims that are no UTF-8".to_owned(), resigned(head, &bytes)));
    attacks
}

/// What Wycheproof tries with signatures.
fn of_signatures(keys: &Keys) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for algorithm in ["RS256", "PS384", "ES256", "ES384", "EdDSA", "HS512"] {
        let message = format!(
            "{}.{}",
            base64url(header(algorithm).to_string().as_bytes()),
            base64url(sound().to_string().as_bytes())
        );
        let good = keys.sign(algorithm, message.as_bytes());
        let length = good.len();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut signature = good.clone();
            change(&mut signature);
            signature
        };
        let mut signatures = vec![
            ("of no bytes", Vec::new()),
            ("of zeros", vec![0; length]),
            ("of ones", vec![0xff; length]),
            ("with a bit changed at the beginning", changed(&|s| s[0] ^= 1)),
            ("with a bit changed at the end", changed(&|s| s[length - 1] ^= 1)),
            ("without its last byte", changed(&|s| s.truncate(length - 1))),
            ("without its first byte", good[1..].to_vec()),
            ("with a byte more", changed(&|s| s.push(0))),
            ("with a zero before", changed(&|s| s.insert(0, 0))),
            ("cut to the half", changed(&|s| s.truncate(length / 2))),
            ("cut to 16 bytes", changed(&|s| s.truncate(16))),
            ("twice", [good.clone(), good.clone()].concat()),
            ("backwards", changed(&|s| s.reverse())),
        ];
        if algorithm.starts_with("ES") {
            let (r, s) = good.split_at(length / 2);
            let order = order(algorithm);
            let one = [vec![0; length / 2 - 1], vec![1]].concat();
            signatures.extend([
                ("with its halves exchanged", [s, r].concat()),
                ("in ASN.1", asn1(r, s)),
                ("of the order", [order.clone(), order.clone()].concat()),
                ("of one and the order", [one.clone(), order].concat()),
                ("of one and one", [one.clone(), one.clone()].concat()),
                ("of r and zero", [r, &vec![0; length / 2]].concat()),
                ("of zero and s", [&vec![0; length / 2], s].concat()),
            ]);
        }
        if algorithm == "EdDSA" {
            signatures.push(("with the order added to S", changed(&|s| add_order(&mut s[32..]))));
            let mut small = vec![0; 64];
            small[0] = 1; // the neutral element, and S = 0: verifies under keys of small order alone
            signatures.push(("of small order", small));
        }
        let of = |(name, signature): (&str, Vec<u8>)| {
            (format!("a signature of {algorithm} {name}"), format!("{message}.{}", base64url(&signature)))
        };
        attacks.extend(signatures.into_iter().map(of));
    }
    attacks
}

/// The order of a curve's group, as SEC 2 has it.
fn order(algorithm: &str) -> Vec<u8> {
    let text = match algorithm {
        "ES256" => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        _ => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
    };
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn asn1(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[2, bytes.len() as u8 + 1, 0], bytes].concat();
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

/// Adds the order of Ed25519's group, little end first.
fn add_order(number: &mut [u8]) {
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in number.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn of_claims(keys: &Keys, other: &Keys) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (name, changes) in [
        ("no issuer", json!({ "iss": "<none>" })),
        ("an issuer that is null", json!({ "iss": null })),
        ("an issuer in a list", json!({ "iss": [ISSUER] })),
        ("an issuer that is nobody", json!({ "iss": "https://eve.example" })),
        ("an issuer with a slash more", json!({ "iss": format!("{ISSUER}/") })),
        ("another issuer with this one's key", json!({ "iss": "https://other.example" })),
        ("no audience", json!({ "aud": "<none>" })),
        ("an audience that is null", json!({ "aud": null })),
        ("another audience", json!({ "aud": "billing" })),
        ("other audiences", json!({ "aud": ["billing", "tidings2"] })),
        ("an empty list of audiences", json!({ "aud": [] })),
        ("an audience that is an object", json!({ "aud": { "tidings": true } })),
        ("an audience that is a number", json!({ "aud": 1 })),
        ("another tenant than its issuer's", json!({ "tenant": "other" })),
        ("the server's tenant", json!({ "tenant": "$server" })),
        ("a tenant in a list", json!({ "tenant": [TENANT] })),
        ("a user without a name", json!({ "sub": "" })),
        ("a user that is an object", json!({ "sub": { "id": 1 } })),
        ("a user that is rounded", json!({ "sub": 1e20 })),
        ("a user that is true", json!({ "sub": true })),
        ("a user with a line's end", json!({ "sub": "ada\n" })),
        ("roles that are an object", json!({ "roles": { "ADMIN": true } })),
        (
            "more roles than there may be",
            json!({ "roles": (0..65).map(|n| format!("r{n}")).collect::<Vec<_>>() }),
        ),
        ("a pattern of everything", json!({ "channels": ["*"] })),
        ("a scope that is an object", json!({ "scope": { "admin": true } })),
    ] {
        attacks.push((name.to_owned(), keys.token(&header("RS256"), &but(changes))));
    }
    // A valid token of another issuer, whose name it does not give.
    let header = json!({ "alg": "RS256", "kid": "their-key" });
    attacks.push(("the key of another tenant's issuer".to_owned(), other.token(&header, &sound())));
    let claims = but(json!({ "iss": "https://other.example", "tenant": TENANT }));
    attacks.push(("another issuer that speaks for this tenant".to_owned(), other.token(&header, &claims)));
    attacks
}

fn of_times(keys: &Keys) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (name, changes) in [
        ("ended a second before the leeway", json!({ "exp": now() - 6 })),
        ("ended long ago", json!({ "exp": 1 })),
        ("ended before 1970", json!({ "exp": -1 })),
        ("no end", json!({ "exp": "<none>" })),
        ("an end that is null", json!({ "exp": null })),
        ("an end that is text", json!({ "exp": (now() + 3600).to_string() })),
        ("an end that is true", json!({ "exp": true })),
        ("an end in a list", json!({ "exp": [now() + 3600] })),
        ("an end beyond the year 9999", json!({ "exp": 253_402_300_800_u64 })),
        ("an end in milliseconds", json!({ "exp": (now() + 3600) * 1000 })),
        ("an end as large as a number can be", json!({ "exp": u64::MAX })),
        ("an end larger than a number can be", json!({ "exp": 1e300 })),
        ("a beginning after the leeway", json!({ "nbf": now() + 60 })),
        ("a beginning that is text", json!({ "nbf": "now" })),
        ("issued in the future", json!({ "iat": now() + 60 })),
        ("issued in milliseconds", json!({ "iat": now() * 1000 })),
        ("issued never", json!({ "iat": "never" })),
        ("issued before 1970", json!({ "iat": -1 })),
    ] {
        attacks.push((name.to_owned(), keys.token(&header("RS256"), &but(changes))));
    }
    attacks
}
