//! What became of a Pod's images, in a line for people.

use super::Outcome;
use crate::rules::Decision;

/// The most characters: where an API server has many warnings to pass on, it cuts those that are
/// longer (`truncateItemRunes` in `k8s.io/apiserver/pkg/endpoints/filters`).
const MAX: usize = 256;

/// What stands for that which was cut.
const CUT: &str = "...";

impl Outcome<'_> {
    /// What was swapped, or would have been: the first image, and how many more there are. None if
    /// there is none.
    ///
    /// At most 256 characters, and no control character, for which an API server drops a warning:
    /// an image that is swapped is ASCII, and so is its target.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let mut swaps = self.images.iter().filter_map(|it| match &it.decision {
            Decision::Swap { target, .. } => Some((it.image.reference, target)),
            Decision::Skip(_) => None,
        });
        let (image, target) = swaps.next()?;
        let becomes = if self.observed {
            "would become"
        } else {
            "becomes"
        };
        let more = match swaps.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let mut summary = format!("k8s-proxy-image-swapper: {image} {becomes} {target}");
        let room = MAX - more.len();
        if summary.len() > room {
            summary.truncate(summary.floor_char_boundary(room - CUT.len()));
            summary += CUT;
        }
        Some(summary + &more)
    }
}

#[cfg(test)]
mod tests;
