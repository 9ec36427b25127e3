//! Streams in every shape, read a few bytes at a time, and compared with what `serde_json` reads.

use std::io::Cursor;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::Value;

use super::*;

/// The pieces and the lines on which they begin, and why it ended; read so many bytes at a time.
fn pieces_of(input: &[u8], at_a_time: usize) -> (Vec<(String, usize)>, Result<(), String>) {
    let mut pieces = Vec::new();
    let input = BufReader::with_capacity(at_a_time, Cursor::new(input));
    let result = split(input, &mut |text, line| {
        pieces.push((String::from_utf8_lossy(text).into_owned(), line));
        Ok(())
    });
    let result = result.map_err(|failure| match failure {
        Failure::Input(problem) => problem,
        Failure::Output(error) => panic!("{error}"),
    });
    (pieces, result)
}

#[track_caller]
fn assert_pieces(input: &str, expected: &[(&str, usize)]) {
    for at_a_time in [1, 2, 3, 8192] {
        let (pieces, result) = pieces_of(input.as_bytes(), at_a_time);
        assert_eq!(result, Ok(()), "{input}");
        let pieces: Vec<_> = pieces.iter().map(|(text, line)| (&**text, *line)).collect();
        assert_eq!(pieces, expected, "{input}");
    }
}

#[test]
fn objects_one_after_the_other() {
    assert_pieces("{}", &[("{}", 1)]);
    assert_pieces(
        " {\"a\":1}\n{} {\n}\r\n",
        &[("{\"a\":1}", 1), ("{}", 2), ("{\n}", 2)],
    );
    assert_pieces("[]", &[]);
    assert_pieces(
        "[ {} ,\n[{\"a\":[1]}]\n]{}",
        &[("{}", 1), ("{\"a\":[1]}", 2), ("{}", 3)],
    );
}

#[test]
fn brackets_and_quotes_in_strings_are_text() {
    for text in [
        r#"{"a":"}"}"#,
        r#"{"a":"\"}"}"#,
        r#"{"a":"\\"}"#,
        r#"{"a":"\\\"{[","b":"]"}"#,
        r#"{"}":{"{":["]"]}}"#,
        "{\"a\":\"\u{e9}}\u{1f600}\"}",
    ] {
        assert_pieces(&format!("{text}{text}"), &[(text, 1), (text, 1)]);
        let list = format!("{{\"items\":[{text}]}}");
        let empty = ("{\"items\":[]}", 1);
        assert_pieces(&list, &[empty, (text, 1), empty]);
    }
}

#[test]
fn the_items_of_a_list_come_between_its_beginning_and_its_end() {
    assert_pieces(
        "{\n \"kind\": \"PodList\",\n \"items\" : [\n  {\"a\": 1},\n  {\"b\": [ ]}\n ],\n \"z\": 2\n}\n{}",
        &[
            ("{\n \"kind\": \"PodList\",\n \"items\" : []}", 1),
            ("{\"a\": 1}", 4),
            ("{\"b\": [ ]}", 5),
            (
                "{\n \"kind\": \"PodList\",\n \"items\" : [],\n \"z\": 2\n}",
                1,
            ),
            ("{}", 9),
        ],
    );
    // Lists in a list.
    let (empty, object) = (("{\"items\":[]}", 1), ("{}", 1));
    assert_pieces(
        r#"{"items":[{"items":[{}]},{}]}"#,
        &[empty, empty, object, empty, object, empty],
    );
}

#[test]
fn only_the_items_of_the_object_itself_make_it_a_list() {
    for text in [
        r#"{"items":null}"#,
        r#"{"items":{"items":[{}]}}"#,
        r#"{"a":"items","b":[{}]}"#,
        r#"{"a":{"items":[{}]}}"#,
        r#"{"a":[{"items":[{}]}]}"#,
        r#"{"a\"items":[{}]}"#,
        r#"{"a,\"items":[{}]}"#,
        r#"{"\"items\":":[{}]}"#,
        r#"{"xitems":[{}],"itemsx":[{}]}"#,
    ] {
        assert_pieces(text, &[(text, 1)]);
    }
}

#[test]
fn what_is_no_object_is_named_with_its_line() {
    for (input, problem) in [
        (
            "",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found the end",
        ),
        (
            " \n",
            "line 2: expected a JSON object, as `kubectl get -o json` prints it, and found the end",
        ),
        (
            "apiVersion: v1\n",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found `a`",
        ),
        (
            "{}\nnull",
            "line 2: expected a JSON object, as `kubectl get -o json` prints it, and found `n`",
        ),
        (
            "{\"items\":[\n1]}",
            "line 2: expected a JSON object, as `kubectl get -o json` prints it, and found `1`",
        ),
        (
            "[{},]",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found `]`",
        ),
        ("[{}\n{}]", "line 2: expected `,` or `]`, and found `{`"),
        ("[{}", "line 1: expected `,` or `]`, and found the end"),
        (
            "[",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found the end",
        ),
        (
            "{\"a\":\"\n}",
            "line 2: expected the rest of an object, and found the end",
        ),
        (
            "{\"items\":[{}]",
            "line 1: expected the rest of an object, and found the end",
        ),
        (
            "\u{feff}{}",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found `\\xef`",
        ),
        (
            "[[[[[{}]]]]]",
            "line 1: expected a JSON object, as `kubectl get -o json` prints it, and found `[`",
        ),
    ] {
        for at_a_time in [1, 8192] {
            let (_, result) = pieces_of(input.as_bytes(), at_a_time);
            assert_eq!(result, Err(problem.to_owned()), "{input:?}");
        }
    }
}

#[test]
fn what_precedes_a_mistake_is_there() {
    let (pieces, result) = pieces_of(b"{\"items\":[{\"a\":1},{\"b\":2},x", 8192);
    let pieces: Vec<_> = pieces.into_iter().map(|(text, _)| text).collect();
    assert_eq!(pieces, ["{\"items\":[]}", "{\"a\":1}", "{\"b\":2}"]);
    assert!(result.is_err());
}

#[test]
fn an_object_has_a_bound_and_a_list_has_none() {
    let item = format!("{{\"a\":\"{}\"}}", "x".repeat(OBJECT_MAX / 4));
    let list = format!("{{\"items\":[{}]}}", vec![item; 5].join(","));
    let (pieces, result) = pieces_of(list.as_bytes(), 8192);
    assert_eq!((pieces.len(), result), (7, Ok(())));

    let object = |len| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
    let (pieces, result) = pieces_of(object(OBJECT_MAX).as_bytes(), 8192);
    assert_eq!((pieces.len(), result), (1, Ok(())));
    let (pieces, result) = pieces_of(object(OBJECT_MAX + 1).as_bytes(), 8192);
    let problem = "line 1: expected an object of at most 64 MiB".to_owned();
    assert_eq!((pieces.len(), result), (0, Err(problem)));
}

/// An object that is no list, as text with white space of all kinds.
fn object() -> impl Strategy<Value = String> {
    let space = || select(vec!["", "", " ", "\n", "\r\n\t "]);
    let key = || {
        select(vec![
            "\"a\"",
            "\"}\"",
            "\"\\\"items\"",
            "\"\\\\\"",
            "\"itemsx\"",
        ])
    };
    let scalar = select(vec![
        "1",
        "null",
        "-1.5e3",
        "\"]\"",
        "\"\\\"\"",
        "\"\\\\\"",
        "\"x\\n{\"",
        "{}",
        "[]",
    ]);
    let value = scalar
        .prop_map(str::to_owned)
        .prop_recursive(4, 24, 4, move |value| {
            let member = (key(), space(), value.clone())
                .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
            let items = (space(), value.clone())
                .prop_map(|(space, value)| format!("\"items\":{space}{value}"));
            let members = prop::collection::vec(prop_oneof![3 => member, 1 => items], 0..4);
            let values = prop::collection::vec(value, 0..4);
            prop_oneof![
                (members, space()).prop_map(|(members, space)| format!(
                    "{{{space}{}{space}}}",
                    members.join(",")
                )),
                (values, space())
                    .prop_map(|(values, space)| format!("[{space}{}]", values.join(","))),
            ]
        });
    prop::collection::vec((key(), value), 0..4).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        format!("{{{}}}", members.join(" , "))
    })
}

/// A list of objects, or an array of them, or one; and how many objects these are.
fn document() -> impl Strategy<Value = (String, Vec<String>)> {
    let objects = || prop::collection::vec(object(), 0..5);
    prop_oneof![
        object().prop_map(|object| (object.clone(), vec![object])),
        objects().prop_map(|objects| (format!("[{}\n]", objects.join(" ,\n")), objects)),
        (objects(), object()).prop_map(|(objects, other)| {
            let list = format!(
                "{{\"a\": {other},\"items\" :\t[ {}],\"kind\":\"List\"}}",
                objects.join(",")
            );
            (list, objects)
        }),
    ]
}

/// What `serde_json` makes of a stream.
fn values_of(stream: &[u8]) -> Result<Vec<Value>, ()> {
    let values = serde_json::Deserializer::from_slice(stream).into_iter();
    values.collect::<Result<_, _>>().map_err(drop)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_object_is_found_as_it_was_written(
        documents in prop::collection::vec(document(), 1..4),
        at_a_time in 1..20_usize,
    ) {
        let streams: Vec<_> = documents.iter().map(|(text, _)| &**text).collect();
        let (pieces, result) = pieces_of(streams.join("\n").as_bytes(), at_a_time);
        prop_assert_eq!(result, Ok(()));
        let objects = documents.into_iter().flat_map(|(_, objects)| objects);
        let found = pieces.into_iter().map(|(text, _)| text);
        let found = found.filter(|text| !text.starts_with("{\"a\": ") || !text.contains("\"items\" :\t["));
        prop_assert_eq!(found.collect::<Vec<_>>(), objects.collect::<Vec<_>>());
    }

    #[test]
    fn nothing_passes_that_is_no_json(
        documents in prop::collection::vec(document(), 1..3),
        changes in prop::collection::vec((any::<Index>(), select(b"{}[]\",:\\ 1ax".as_slice()), 0..3), 0..3),
    ) {
        let texts: Vec<_> = documents.iter().map(|(text, _)| &**text).collect();
        let mut stream = texts.join(" ").into_bytes();
        for (index, byte, how) in changes {
            let structural = |at: &usize| b"{}[],:\"\\".contains(&stream[*at]);
            let places: Vec<usize> = (0..stream.len()).filter(structural).collect();
            prop_assume!(!places.is_empty());
            let at = *index.get(&places);
            match how {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                _ => drop(stream.remove(at)),
            }
        }
        let (pieces, result) = pieces_of(&stream, 7);
        let readable = pieces.iter().all(|(text, _)| serde_json::from_str::<Value>(text).is_ok());
        if result.is_ok() && readable {
            prop_assert!(values_of(&stream).is_ok(), "{}", String::from_utf8_lossy(&stream));
        }
    }
}
