//! The HTTP side of the webhook: a request is checked and received, then answered in one go.

mod body;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

pub(crate) use body::Body;
use body::Budget;

use crate::logging::Throttle;
use crate::metrics::Metrics;
use crate::mutate::{Mutator, Outcome};
use crate::review::{NotAReview, Review};
use crate::rules::Reason;
use crate::settings::Limits;

/// The path of the webhook.
pub const PATH: &str = "/mutate";

/// The media type of short texts.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Answers reviews.
#[derive(Debug)]
pub struct Webhook {
    mutator: Mutator,
    budget: Budget,
    metrics: Arc<Metrics>,
    observations: Throttle,
    review_warnings: Throttle,
    refusal_warnings: Throttle,
}

/// Why a request is not answered with a review.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No Host, or several.
    Host,
    /// Another path than [`PATH`].
    Path,
    /// Another method than POST.
    Method,
    /// Another media type than JSON.
    MediaType,
    /// Any content encoding.
    Encoding,
    /// A body of more than so many bytes.
    TooLarge(usize),
    /// A body that did not arrive in time.
    BodyTimeout,
    /// A body that broke off.
    BodyIncomplete,
    /// No room for the body among all others, in time.
    NoRoom,
    /// A body that is no AdmissionReview.
    NotAReview(NotAReview),
}

impl Webhook {
    /// A webhook that decides by `mutator`.
    #[must_use]
    pub fn new(mutator: Mutator, limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            mutator,
            budget: Budget::new(limits),
            metrics,
            observations: Throttle::default(),
            review_warnings: Throttle::default(),
            refusal_warnings: Throttle::default(),
        }
    }

    /// Checks the head of a request and receives its body.
    pub(crate) async fn receive(&self, request: Request<Incoming>) -> Result<Body, Refusal> {
        check_head(&request)?;
        self.budget.receive(request.into_body()).await
    }

    /// Answers what was received.
    pub(crate) fn answer(&self, received: Result<Body, Refusal>) -> Response<Full<Bytes>> {
        let answer = received.and_then(|body| self.review(body.bytes()));
        answer.map_or_else(
            |refusal| self.refuse(&refusal),
            |review| respond(StatusCode::OK, "application/json", review),
        )
    }

    fn review(&self, body: &[u8]) -> Result<String, Refusal> {
        let start = Instant::now();
        let review = Review::read(body).map_err(Refusal::NotAReview)?;
        let mut outcome = self.mutator.mutate(&review);
        let patch = std::mem::take(&mut outcome.patch);
        let patch = (!patch.is_empty()).then(|| patch.into_json());
        let warning = self.mutator.warning(&review, &outcome);
        let answer = review.answer(patch.as_deref(), warning.as_deref());
        self.metrics
            .review(&review, &outcome, patch.is_some(), start.elapsed());
        self.log(&review, &outcome);
        Ok(answer)
    }

    fn log(&self, review: &Review<'_>, outcome: &Outcome<'_>) {
        let (uid, namespace, name) = (&*review.uid, &*review.namespace, &*review.name);
        tracing::debug!(
            uid,
            namespace,
            name,
            operation = &*review.operation,
            swapped = outcome.swapped().count(),
            skipped = outcome.skipped().count(),
            dry_run = review.dry_run,
            summary = outcome.summary(),
            "review"
        );
        if outcome.skipped().any(|reason| reason == Reason::Observed)
            && let Some(suppressed) = self.observations.pass()
            && let Some(summary) = outcome.summary()
        {
            tracing::info!(uid, namespace, name, suppressed, "{summary}");
        }
        let warning = if let Some(error) = &review.unreadable {
            format!("the Pod is left alone, since it could not be read: {error}")
        } else if outcome.annotations_omitted > 0 {
            "the original images are not noted: the Pod's annotations would be too large".to_owned()
        } else if outcome
            .skipped()
            .any(|reason| reason == Reason::InvalidTarget)
        {
            "an image is left alone: its target would not be an image".to_owned()
        } else {
            return;
        };
        if let Some(suppressed) = self.review_warnings.pass() {
            tracing::warn!(uid, namespace, name, suppressed, "{warning}");
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        self.metrics.request_refused(refusal.reason());
        if let Some(suppressed) = self.refusal_warnings.pass() {
            tracing::warn!(
                reason = refusal.reason(),
                suppressed,
                "request refused: {refusal}"
            );
        }
        let text = format!("{refusal}\n");
        let mut response = respond(refusal.status(), TEXT, text);
        if matches!(refusal, Refusal::Method) {
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
        }
        response
    }
}

impl Refusal {
    fn reason(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::Encoding => "content_encoding",
            Self::TooLarge(_) => "too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyIncomplete => "body_incomplete",
            Self::NoRoom => "no_room",
            Self::NotAReview(_) => "not_a_review",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Self::Host | Self::BodyIncomplete | Self::NotAReview(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("expected one Host"),
            Self::Path => write!(f, "expected the path {PATH}"),
            Self::Method => f.write_str("expected the method POST"),
            Self::MediaType => f.write_str("expected the Content-Type application/json"),
            Self::Encoding => f.write_str("expected no Content-Encoding"),
            Self::TooLarge(max) => write!(f, "expected a body of at most {max} bytes"),
            Self::BodyTimeout => f.write_str("the body did not arrive in time"),
            Self::BodyIncomplete => f.write_str("the body broke off"),
            Self::NoRoom => f.write_str("too many bodies at once, try again"),
            Self::NotAReview(error) => write!(f, "{error}"),
        }
    }
}

fn check_head<B>(request: &Request<B>) -> Result<(), Refusal> {
    // HTTP/1.0 may do without (RFC 9112, section 3.2).
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(Refusal::Host);
    }
    if request.uri().path() != PATH {
        return Err(Refusal::Path);
    }
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    if request.headers().contains_key(CONTENT_ENCODING) {
        return Err(Refusal::Encoding);
    }
    if !is_json(request.headers()) {
        return Err(Refusal::MediaType);
    }
    Ok(())
}

/// Whether the media type is `application/json`, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| {
            media_type
                .trim_ascii()
                .eq_ignore_ascii_case("application/json")
        })
}

pub(crate) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
