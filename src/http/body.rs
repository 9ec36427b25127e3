//! Receiving a request's body, within its own limits and those of all bodies together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Refusal;
use crate::settings::Limits;

/// The largest body, in bytes, that is received from the part of the budget kept for small ones.
const SMALL: usize = 64 * 1024;

/// The memory for all bodies that are being received or answered, in bytes. A quarter is kept for
/// small ones, so that large ones never queue before an ordinary review.
#[derive(Debug)]
pub(crate) struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    body_max: usize,
    timeout: Duration,
}

/// A whole body. It has its share of the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    _share: Share,
}

/// What a body takes of the budget: what it holds, not what it announced.
#[derive(Debug)]
struct Share {
    pool: Arc<Semaphore>,
    deadline: Instant,
    taken: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let small = limits.buffered_bytes / 4;
        Self {
            small: Arc::new(Semaphore::new(small)),
            large: Arc::new(Semaphore::new(limits.buffered_bytes - small)),
            body_max: limits.body_bytes,
            timeout: limits.body_timeout,
        }
    }

    /// Receives a body to its end.
    pub(crate) async fn receive(&self, mut body: Incoming) -> Result<Body, Refusal> {
        let announced = body.size_hint().exact();
        let announced = announced.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if announced.is_some_and(|size| size > self.body_max) {
            return Err(Refusal::TooLarge(self.body_max));
        }
        let largest = announced.unwrap_or(self.body_max);
        let mut share = Share {
            pool: Arc::clone(if largest <= SMALL {
                &self.small
            } else {
                &self.large
            }),
            deadline: Instant::now() + self.timeout,
            taken: None,
        };

        let mut buffer = Vec::new();
        while let Some(frame) = timeout_at(share.deadline, body.frame())
            .await
            .map_err(|_| Refusal::BodyTimeout)?
        {
            let Ok(data) = frame.map_err(|_| Refusal::BodyIncomplete)?.into_data() else {
                continue; // Trailers.
            };
            if Some(data.len()) == announced {
                share.take(data.len()).await?;
                return Ok(Body {
                    bytes: data,
                    _share: share,
                });
            }
            // Copied, since a frame, however short, keeps the whole read buffer it is a slice of.
            let size = buffer.len() + data.len();
            if size > largest {
                return Err(Refusal::TooLarge(self.body_max));
            }
            if size > buffer.capacity() {
                let capacity = size.max(buffer.capacity() * 2).min(largest);
                share.take(capacity - buffer.capacity()).await?;
                buffer.reserve_exact(capacity - buffer.len());
            }
            buffer.extend_from_slice(&data);
        }
        Ok(Body {
            bytes: buffer.into(),
            _share: share,
        })
    }
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Share {
    /// Takes `bytes` more, as soon as there is room.
    async fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::NoRoom)?;
        let permit = Arc::clone(&self.pool).acquire_many_owned(bytes);
        // The pool is never closed.
        let Ok(Ok(permit)) = timeout_at(self.deadline, permit).await else {
            return Err(Refusal::NoRoom);
        };
        match &mut self.taken {
            Some(taken) => taken.merge(permit),
            None => self.taken = Some(permit),
        }
        Ok(())
    }
}
