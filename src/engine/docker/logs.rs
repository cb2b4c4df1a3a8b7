//! The log of a container, line by line, with the moment of each. The engine's request knows whole seconds only and
//! gives its lines in pieces; here they are put together, and what is older than wanted is left away.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::{Stream, StreamExt, stream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::DockerEngine;
use super::failure::failed;
use super::names::checked_name;
use crate::engine::{ContainerId, LogLine, LogLines, LogRange, OutputStream, Result};

const OPERATION: &str = "reading the log of container";

/// As long as a line may be: what the engine itself keeps in one piece.
const LONGEST: usize = 16 * 1024;

impl DockerEngine {
    pub(super) async fn read_log(&self, id: &ContainerId, range: &LogRange) -> Result<LogLines> {
        let name = checked_name(OPERATION, &id.0)?;
        // An unknown container is told by this call, and not by the first line.
        self.inspect(name).await?;
        let since = range.since;
        let options = LogsOptions {
            follow: range.follow,
            stdout: true,
            stderr: true,
            // Zero is the engine's word for "from the beginning".
            since: i32::try_from(since.unix_timestamp()).unwrap_or(i32::MAX).max(0),
            timestamps: true,
            tail: range.newest.to_string(),
            ..LogsOptions::default()
        };
        // A container that writes nothing for long is no engine that does not answer.
        let client = self.patient_client(self.budgets.long);
        let frames = client.logs(name, Some(options));
        let (endpoint, target) = (self.endpoint.clone(), id.short().to_owned());
        let frames =
            frames.map(move |frame| frame.map_err(|error| failed(&endpoint, OPERATION, &target, &error)));
        Ok(Box::pin(lines(frames).filter(move |line| {
            let is_wanted = line.as_ref().map_or(true, |line| line.at >= since);
            std::future::ready(is_wanted)
        })))
    }
}

/// Frames put together to lines.
fn lines(
    frames: impl Stream<Item = Result<LogOutput>> + Send + 'static,
) -> impl Stream<Item = Result<LogLine>> + Send {
    let reading = (Box::pin(frames), Lines::default());
    stream::unfold(reading, |(mut frames, mut lines)| async move {
        loop {
            if let Some(line) = lines.whole.pop_front() {
                return Some((Ok(line), (frames, lines)));
            }
            match frames.next().await {
                Some(Ok(frame)) => lines.take(&frame),
                Some(Err(error)) => return Some((Err(error), (frames, lines))),
                None if lines.end() => {}
                None => return None,
            }
        }
    })
}

/// The lines under way, one of each stream, and those that are whole.
#[derive(Default)]
struct Lines {
    whole: VecDeque<LogLine>,
    open: [Vec<u8>; 2],
}

const STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

impl Lines {
    fn take(&mut self, frame: &LogOutput) {
        let [stdout, stderr] = &mut self.open;
        let (stream, open) = match frame {
            // A terminal's output is one stream.
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                (OutputStream::Stdout, stdout)
            }
            LogOutput::StdErr { .. } => (OutputStream::Stderr, stderr),
        };
        for piece in frame.as_ref().split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(open.len());
            open.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                self.whole.extend(line(stream, &std::mem::take(open)));
            }
        }
    }

    /// What was begun is a line, too; says whether there was any.
    fn end(&mut self) -> bool {
        for (stream, open) in STREAMS.into_iter().zip(&mut self.open) {
            self.whole.extend(line(stream, &std::mem::take(open)));
        }
        !self.whole.is_empty()
    }
}

/// `2026-01-01T00:00:00.123456789Z what was written`; `None` where no moment stands before it.
fn line(stream: OutputStream, bytes: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let (moment, text) = text.split_once(' ').unwrap_or((text.trim_end(), ""));
    Some(LogLine {
        at: OffsetDateTime::parse(moment, &Rfc3339).ok()?,
        stream,
        text: text.trim_end_matches(['\n', '\r']).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    fn texts(frames: &[LogOutput]) -> Vec<String> {
        let mut lines = Lines::default();
        for frame in frames {
            lines.take(frame);
        }
        lines.end();
        lines.whole.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn pieces_are_put_together_by_stream() {
        let other = LogOutput::StdErr {
            message: "2026-01-01T00:00:01Z other\n".to_owned().into(),
        };
        let frames = [
            frame("2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:00.6Z t"),
            other,
            frame("wo\r\n"),
            frame("2026-01-01T00:00:02Z without an end"),
        ];
        assert_eq!(texts(&frames), ["one", "other", "two", "without an end"]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_one_without_moment_left_away() {
        let long = format!("2026-01-01T00:00:00Z {}\n", "x".repeat(3 * LONGEST));
        let read = texts(&[
            frame(&long),
            frame("no moment\n"),
            frame("2026-01-01T00:00:00Z \n"),
        ]);
        assert_eq!(read.len(), 2);
        assert!(read[0].len() <= LONGEST);
        assert_eq!(read[1], "");
    }
}
