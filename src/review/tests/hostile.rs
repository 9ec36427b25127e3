//! Bodies that no API server sends: broken, or made to break the reader. None may make it panic.

use super::*;

#[test]
fn what_surrounds_the_review() {
    let body = create(&json!({})).to_string();
    Review::read(format!(" \t\r\n{body}\r\n\t ").as_bytes()).unwrap();
    for body in [
        format!("{body}x"),
        format!("{body}{body}"),
        format!("{body},"),
        format!("{body}\0"),
        format!("\u{feff}{body}"),
        format!("[{body}]"),
    ] {
        assert!(matches!(refused(&body), NotAReview::Json(_)), "{body}");
    }
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(refused(utf16), NotAReview::Json(_)));
}

#[test]
fn invalid_utf8_anywhere() {
    let object = json!({"metadata": {"labels": {"k": "LABEL"}}, "spec": {"containers": [{"image": "IMAGE"}]}, "unknown": "SKIPPED"});
    let body = create(&object).to_string();
    for place in [
        "u-1",
        "IMAGE",
        "SKIPPED",
        "LABEL",
        "labels",
        "AdmissionReview",
    ] {
        let at = body.find(place).unwrap();
        for bad in [
            &b"\xff"[..],
            b"\xc3",
            b"\xe9\x9b",
            b"\xed\xa0\x80",
            b"\xc0\x80",
            b"\xf5\x80\x80\x80",
        ] {
            let mut body = body.clone().into_bytes();
            body.splice(at..=at, bad.iter().copied());
            assert!(
                matches!(refused(body), NotAReview::Utf8(_)),
                "{place} {bad:?}"
            );
        }
    }
}

#[test]
fn cut_short_anywhere() {
    for body in [
        include_str!("../../../tests/reviews/create-image-volumes.json"),
        include_str!("../../../tests/reviews/create-odd-references.json"),
        include_str!("../../../tests/reviews/create-v1beta1.json"),
    ] {
        let body = body.trim_end().as_bytes();
        Review::read(body).unwrap();
        for end in 0..body.len() {
            let error = refused(&body[..end]);
            assert!(
                matches!(error, NotAReview::Json(_) | NotAReview::Utf8(_)),
                "{end}: {error}"
            );
        }
    }
}

#[test]
fn keys_that_stand_twice() {
    let twice = |key: &str| {
        create(&json!({})).to_string().replacen(
            &format!("\"{key}\":"),
            &format!("\"{key}\":null,\"{key}\":"),
            1,
        )
    };
    for key in [
        "kind",
        "apiVersion",
        "request",
        "uid",
        "operation",
        "object",
        "group",
    ] {
        assert!(matches!(refused(twice(key)), NotAReview::Json(_)), "{key}");
    }
    for object in [
        r#"{"spec":{},"spec":{}}"#,
        r#"{"metadata":null,"metadata":{}}"#,
        r#"{"spec":{"containers":[],"containers":[]}}"#,
        r#"{"spec":{"containers":[{"image":"a","\u0069mage":"b"}]}}"#,
        r#"{"metadata":{"labels":{"k8s-proxy-image-swapper":"a","k8s-proxy-image-swapper":"a"}}}"#,
        r#"{"metadata":{"annotations":{"original-image.k8s-proxy-image-swapper/a":"","original-image.k8s-proxy-image-swapper/a":""}}}"#,
    ] {
        assert!(!is_readable(&create_raw(object)), "{object}");
    }
    for object in [
        r#"{"status":{},"status":{}}"#,
        r#"{"metadata":{"labels":{"a":"b","a":"b"},"annotations":{"a":"b","a":"b"}}}"#,
    ] {
        assert!(is_readable(&create_raw(object)), "{object}");
    }
}

#[test]
fn deep_nesting() {
    const LEVELS: usize = 100_000;
    let arrays = "[".repeat(LEVELS) + &"]".repeat(LEVELS);
    let objects = "{\"a\":".repeat(LEVELS) + "1" + &"}".repeat(LEVELS);
    for deep in [&arrays, &objects] {
        // Where it is skipped, its depth does not matter.
        let skipped = create_raw(&format!("{{\"status\":{deep},\"spec\":{{\"x\":{deep}}}}}"));
        assert!(is_readable(&skipped));
        for object in [
            deep.clone(),
            format!("{{\"metadata\":{{\"labels\":[{deep}]}}}}"),
            format!("{{\"spec\":{{\"containers\":{deep}}}}}"),
            format!("{{\"spec\":{{\"containers\":[{{\"image\":{deep}}}]}}}}"),
        ] {
            let readable = is_readable(&create_raw(&object));
            // An object of unknown keys is a Pod without any field.
            assert_eq!(readable, object.starts_with("{\"a\""));
        }
        let read = create(&json!({})).to_string().replace("\"u-1\"", deep);
        assert!(matches!(refused(read), NotAReview::Json(_)));
        assert!(matches!(
            refused(deep),
            NotAReview::Json(_) | NotAReview::Kind(_)
        ));
    }
    assert!(matches!(refused("[".repeat(LEVELS)), NotAReview::Json(_)));
    let unclosed = "{\"a\":".repeat(LEVELS);
    assert!(matches!(refused(unclosed), NotAReview::Json(_)));
}

#[test]
fn numbers_beyond_any_type() {
    let digits = "9".repeat(10_000);
    for number in [
        "1e999999",
        "-1e-999999",
        &digits,
        &format!("0.{digits}"),
        &format!("1e{digits}"),
    ] {
        assert!(is_readable(&create_raw(&format!(
            "{{\"status\":{{\"x\":[{number}]}}}}"
        ))));
        assert!(!is_readable(&create_raw(number)));
        let image = format!("{{\"spec\":{{\"containers\":[{{\"image\":{number}}}]}}}}");
        assert!(!is_readable(&create_raw(&image)));
        let uid = create(&json!({})).to_string().replace("\"u-1\"", number);
        assert!(matches!(refused(uid), NotAReview::Json(_)));
    }
}

#[test]
fn lone_surrogates() {
    for escape in [
        r"\ud800",
        r"\udfff",
        r"\ud83dx",
        r"\ud83d\u0041",
        r"\ude00\ud83d",
    ] {
        assert!(is_readable(&create_raw(&format!(
            "{{\"status\":\"{escape}\"}}"
        ))));
        assert!(is_readable(&create_raw(&format!(
            "{{\"metadata\":{{\"labels\":{{\"a\":\"{escape}\"}}}}}}"
        ))));
        // Values of annotations are decoded only where that is needed.
        assert!(is_readable(&create_raw(&format!(
            "{{\"metadata\":{{\"annotations\":{{\"a\":\"{escape}\"}}}}}}"
        ))));
        for object in [
            format!("{{\"{escape}\":1}}"),
            format!("{{\"metadata\":{{\"annotations\":{{\"{escape}\":\"a\"}}}}}}"),
            format!("{{\"spec\":{{\"containers\":[{{\"image\":\"{escape}\"}}]}}}}"),
        ] {
            assert!(!is_readable(&create_raw(&object)), "{object}");
        }
        let uid = create(&json!({})).to_string().replace("u-1", escape);
        assert!(matches!(refused(uid), NotAReview::Json(_)));
    }
}
