//! Strings as they are written and read, compared with what `serde_json` makes of them.

use std::collections::BTreeMap;

use super::*;

fn written(text: &str) -> String {
    let mut out = String::new();
    push_string(&mut out, text);
    out
}

#[test]
fn writes_what_reads_back() {
    let controls: String = (0..=0x9f).map(char::from).collect();
    let texts = [
        "",
        "nginx:1.27",
        "\"",
        "\\",
        "\"\\\"\\",
        "a\"b\\c/d~e",
        "\\u0041",
        "\n\r\t\u{8}\u{c}",
        "é 雪 \u{1f600} \u{10ffff} \u{2028}\u{2029} \u{feff}",
        "end with a control \u{1f}",
        "\u{0}",
        &controls,
    ];
    for text in texts {
        let written = written(text);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        assert!(written.bytes().all(|b| b >= 0x20), "{written:?}");
    }
}

#[test]
fn escapes_only_what_must_be() {
    assert_eq!(written("a/b ~ é 😀 \u{7f}"), "\"a/b ~ é 😀 \u{7f}\"");
    assert_eq!(written("\u{1}\n\u{1f}"), r#""\u0001\u000a\u001f""#);
    assert_eq!(written("\"\\"), r#""\"\\""#);
}

#[test]
fn appends() {
    let mut out = "x".to_owned();
    push_string(&mut out, "y");
    assert_eq!(out, "x\"y\"");
}

#[test]
fn borrows_a_string_without_escapes() {
    let is_borrowed = |json| matches!(serde_json::from_str(json).unwrap(), Text(Cow::Borrowed(_)));
    assert!(is_borrowed("\"nginx é 😀\""));
    assert!(!is_borrowed("\"\\u006eginx\""));
}

#[test]
fn reads_every_escape() {
    let json = r#""\"\\\/\b\f\n\r\t\u00e9\u96EA\ud83d\uDE00""#;
    let text: Text<'_> = serde_json::from_str(json).unwrap();
    assert_eq!(&*text, "\"\\/\u{8}\u{c}\n\r\té雪😀");
}

#[test]
fn no_string_is_an_error() {
    for json in [
        "null",
        "1",
        "true",
        "[]",
        "{}",
        "[\"a\"]",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"",
        "\"\u{1}\"",
    ] {
        assert!(serde_json::from_str::<Text<'_>>(json).is_err(), "{json}");
    }
}

objects! {
    /// An object with every kind of field.
    struct Thing<'a> {
        text: Text<'a> = "text",
        maybe: Option<Text<'a>> = "maybe",
        list: Vec<Text<'a>> = "list",
        flag: bool = "flag",
        map: BTreeMap<Text<'a>, u8> = "map",
    }
}

#[test]
fn reads_the_known_fields() {
    let json =
        r#"{"x":[{"text":1}],"text":"a","m\u0061ybe":"b","list":["c"],"flag":true,"map":{"d":1}}"#;
    let thing: Thing<'_> = serde_json::from_str(json).unwrap();
    assert_eq!(&*thing.text, "a");
    assert_eq!(thing.maybe.as_deref(), Some("b"));
    assert_eq!(thing.list.len(), 1);
    assert!(thing.flag);
    assert_eq!(thing.map.get("d"), Some(&1));
}

#[test]
fn absent_and_null_are_the_default() {
    let nulls = r#"{"text":null,"maybe":null,"list":null,"flag":null,"map":null,"x":null}"#;
    for json in ["{}", nulls] {
        let thing: Thing<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(&*thing.text, "");
        assert_eq!(thing.maybe, None);
        assert!(thing.list.is_empty() && !thing.flag && thing.map.is_empty());
    }
}

#[test]
fn a_known_key_twice_is_an_error() {
    for json in [
        r#"{"text":"a","text":"a"}"#,
        r#"{"text":null,"text":null}"#,
        r#"{"text":"a","x":1,"te\u0078t":"b"}"#,
    ] {
        let error = serde_json::from_str::<Thing<'_>>(json).unwrap_err();
        assert!(
            error.to_string().contains("duplicate field `text`"),
            "{error}"
        );
    }
    serde_json::from_str::<Thing<'_>>(r#"{"x":1,"x":2}"#).unwrap();
}

#[test]
fn anything_but_an_object_is_an_error() {
    for json in [
        "null",
        "\"text\"",
        "1",
        "true",
        "[]",
        r#"["a",null,[],false,{}]"#,
    ] {
        assert!(serde_json::from_str::<Thing<'_>>(json).is_err(), "{json}");
    }
}
