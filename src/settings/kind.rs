//! How the text of a value becomes its type, and how what is expected reads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::LogFormat;
use crate::mutate::{Mode, is_dns_subdomain};

/// What a value must look like, and what it becomes.
pub(super) struct Kind<T> {
    pub(super) expected: &'static str,
    pub(super) parse: fn(&str) -> Option<T>,
}

/// The longest duration: with any more, times to come might not be representable.
const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// The most bytes: more than any machine has, and less than what can be counted.
const BYTES_MAX: usize = 1 << 40;

pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    expected: "an IP address and a port, such as 127.0.0.1:8443 or [::]:8443",
    parse: |text| text.parse().ok(),
};
pub(super) const BOOL: Kind<bool> = Kind {
    expected: "true or false",
    parse: |text| text.parse().ok(),
};
pub(super) const BYTES: Kind<usize> = Kind {
    expected: "a number of bytes from 1 to 1024Gi, such as 65536, 64Ki or 8Mi",
    parse: parse_bytes,
};
pub(super) const COUNT: Kind<usize> = Kind {
    expected: "a number above 0",
    parse: |text| text.parse().ok().filter(|count| *count > 0),
};
pub(super) const DELAY: Kind<Duration> = Kind {
    expected: "a duration of at most 365d, such as 0s, 500ms or 5s",
    parse: |text| {
        let duration = humantime::parse_duration(text).ok();
        duration.filter(|duration| *duration <= DURATION_MAX)
    },
};
pub(super) const DURATION: Kind<Duration> = Kind {
    expected: "a duration above 0 and of at most 365d, such as 500ms, 5s or 5m",
    parse: |text| (DELAY.parse)(text).filter(|duration| !duration.is_zero()),
};
pub(super) const LEVEL: Kind<LevelFilter> = Kind {
    expected: "off, error, warn, info, debug or trace",
    parse: |text| LevelFilter::from_str(text).ok(),
};
pub(super) const LOG_FORMAT: Kind<LogFormat> = Kind {
    expected: "json or text",
    parse: |text| match text {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => None,
    },
};
pub(super) const MODE: Kind<Mode> = Kind {
    expected: "swap or observe",
    parse: |text| match text {
        "swap" => Some(Mode::Swap),
        "observe" => Some(Mode::Observe),
        _ => None,
    },
};
pub(super) const PATH: Kind<PathBuf> = Kind {
    expected: "a path",
    parse: |text| Some(PathBuf::from(text)),
};
pub(super) const SECRET: Kind<String> = Kind {
    expected: "the name of a Secret: lower-case letters, digits, - and ., at most 253 in all",
    parse: |text| is_dns_subdomain(text).then(|| text.to_owned()),
};

/// A whole number, alone or with the unit of a Kubernetes quantity.
fn parse_bytes(text: &str) -> Option<usize> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
    let unit = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((text, &0));
    let bytes = number.parse::<usize>().ok()?.checked_mul(1 << shift)?;
    Some(bytes).filter(|bytes| (1..=BYTES_MAX).contains(bytes))
}
