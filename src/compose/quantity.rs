//! Durations (`1h30m`) and sizes (`512m`) as people write them, in Compose files and in `deploy.yml`.

use std::time::Duration;

/// A text that is no duration or size, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuantityError {
    pub message: String,
    pub hint: Option<String>,
}

impl QuantityError {
    fn new(message: String, hint: &str) -> Self {
        Self {
            message,
            hint: Some(hint.to_owned()),
        }
    }
}

/// Reads `500ms`, `10s`, `1h30m`, `1.5s`, `2d`; units from `ns` to `w`, each part with its unit.
///
/// # Errors
/// A bare number, an unknown unit, no text, more than five hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let wanted = "write a number with its unit, such as `500ms`, `10s` or `1h30m`";
    let refused = || QuantityError::new(format!("`{text}` is not a duration"), wanted);
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(refused());
    }
    if rest.parse::<f64>().is_ok() {
        let hint = format!("write `{rest}s` for seconds or `{rest}m` for minutes");
        return Err(QuantityError::new(
            format!("the duration `{text}` has no unit"),
            &hint,
        ));
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let number_ends = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(refused)?;
        let (number, tail) = rest.split_at(number_ends);
        let unit_ends = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return Err(refused()),
        };
        nanoseconds = scaled(number, scale)
            .and_then(|more| nanoseconds.checked_add(more))
            .ok_or_else(refused)?;
        rest = tail;
    }
    u64::try_from(nanoseconds)
        .map(Duration::from_nanos)
        .map_err(|_| refused())
}

/// Reads bytes: `1073741824`, `512k`, `64m`, `1.5g`, `2GB`, `1GiB`. A kilobyte is 1024 bytes, as in Compose.
///
/// # Errors
/// An unknown unit, no number, more than 2^64 bytes.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let refused = || {
        let hint = "write a number of bytes or a number with `k`, `m`, `g` or `t`, such as `512m`";
        QuantityError::new(format!("`{text}` is not a size"), hint)
    };
    let trimmed = text.trim();
    let number_ends = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(number_ends);
    let scale: u128 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return Err(refused()),
    };
    scaled(number, scale)
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(refused)
}

/// `number` times `scale`, rounded down; exact, without floats.
pub(super) fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let digits: u128 = fraction.get(..fraction.len().min(18))?.parse().ok()?;
        let tens = 10_u128.checked_pow(u32::try_from(fraction.len().min(18)).ok()?)?;
        total = total.checked_add(digits.checked_mul(scale)? / tens)?;
    }
    Some(total)
}
