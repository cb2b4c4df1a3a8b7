//! Tries until somebody has got a notice, with longer and longer pauses, and never beyond its time. Got means: an answer
//! of 2xx to every request, a letter that its server has taken, a file that stands.
//!
//! Whoever got it and could not say so in time gets it twice; nobody who did not get it counts as told.

use std::time::Duration;

use tokio::time::Instant;

use super::target::Parcel;
use super::{Mask, healthchecks};
use crate::app::deliver::{Answer, Deliver, Undelivered};
use crate::ui::printable_line;

use super::notice::cut;

/// Before the second try; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// So many characters of an answer are told.
const ANSWER: usize = 200;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Why nobody got it; `None` where somebody did.
    pub why_not: Option<String>,
    /// Of all requests together.
    pub tries: u32,
    pub took: Duration,
}

/// Why a try was in vain.
struct Vain {
    why: String,
    may_pass: bool,
    /// How long to wait, if it says so.
    pause: Option<Duration>,
}

/// Sends all of it, one after the other.
pub async fn deliver(port: &dyn Deliver, parcels: &[Parcel], mask: &Mask, time: Duration) -> Delivered {
    let began = Instant::now();
    let mut tries = 0;
    let mut why_not = None;
    for parcel in parcels {
        if let Err(why) = one(port, parcel, (began, time), &mut tries).await {
            why_not = Some(mask.hide(&cut(&printable_line(&mask.hide(&why)), 2 * ANSWER)));
            break;
        }
    }
    Delivered {
        why_not,
        tries,
        took: began.elapsed(),
    }
}

async fn one(
    port: &dyn Deliver,
    parcel: &Parcel,
    (began, time): (Instant, Duration),
    tries: &mut u32,
) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    // One that hangs leaves time for a second try.
    let longest = time / 2;
    loop {
        *tries += 1;
        let left = time.saturating_sub(began.elapsed());
        let tried = tokio::time::timeout(left.min(longest), once(port, parcel)).await;
        let vain = match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(vain)) => vain,
            Err(_) => Vain {
                why: "no answer in time".to_owned(),
                may_pass: true,
                pause: Some(Duration::ZERO),
            },
        };
        if !vain.may_pass {
            return Err(vain.why);
        }
        let wait = vain.pause.unwrap_or(pause);
        if began.elapsed() + wait >= time {
            return Err(format!(
                "{}; given up after {} and {} s",
                vain.why,
                times(*tries),
                time.as_secs_f64()
            ));
        }
        tokio::time::sleep(wait).await;
        pause *= 2;
    }
}

fn times(tries: u32) -> String {
    if tries == 1 {
        "1 try".to_owned()
    } else {
        format!("{tries} tries")
    }
}

async fn once(port: &dyn Deliver, parcel: &Parcel) -> Result<(), Vain> {
    match parcel {
        Parcel::Http(message) => judged(&port.request(message).await.map_err(Vain::from)?),
        Parcel::Ping(message) => {
            let answer = port.request(message).await.map_err(Vain::from)?;
            judged(&answer)?;
            match healthchecks::denial(&answer) {
                None => Ok(()),
                Some((why, may_pass)) => Err(Vain {
                    why: format!("{why}, although it answered {}", answer.status),
                    may_pass,
                    pause: None,
                }),
            }
        }
        Parcel::Mail(message) => port.mail(message).await.map_err(Vain::from),
        Parcel::File(message) => port.file(message).await.map_err(Vain::from),
    }
}

/// Only 2xx counts. What is asked in too short a time, and what the other side cannot do just now, may be otherwise later.
fn judged(answer: &Answer) -> Result<(), Vain> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let said = cut(printable_line(answer.body.trim()).trim(), ANSWER);
    let said = if said.is_empty() {
        said
    } else {
        format!(": {said}")
    };
    Err(Vain {
        why: format!("it answered {status}{said}"),
        may_pass: matches!(status, 408 | 425 | 429) || status >= 500,
        pause: answer.retry_after,
    })
}

impl From<Undelivered> for Vain {
    fn from(undelivered: Undelivered) -> Self {
        Self {
            why: undelivered.why,
            may_pass: undelivered.may_pass,
            pause: None,
        }
    }
}
