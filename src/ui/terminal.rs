//! The live view on a terminal: what is done scrolls away as ordinary lines, what is running and what is to come is
//! redrawn below it. `model` keeps what is known, `view` lays it out; here is only the drawing, and when.
//!
//! The cursor is never hidden, so there is nothing to restore however the program ends. Events only change the
//! model; the screen follows a few times a second, so a chatty process costs no time.

mod model;
mod view;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::pipeline::{Event, Question, Reply, Reporter};

use super::clock::Clock;
use super::line::Line;
use super::question::{Answers, picture};
use model::Model;

const REFRESH_EVERY: Duration = Duration::from_millis(100);

/// Draws on a terminal.
pub struct TerminalReporter {
    screen: Arc<Screen>,
    refresher: Option<Refresher>,
    /// Where whoever is asked answers; where there is nobody, nothing is asked.
    answers: Option<Answers>,
}

impl TerminalReporter {
    /// Draws after every event, and only then.
    pub fn new(terminal: Arc<dyn TermLike>, color: bool, verbose: bool, clock: Arc<dyn Clock>) -> Self {
        let target = ProgressDrawTarget::term_like(Box::new(SharedTerminal(Arc::clone(&terminal))));
        let bars = MultiProgress::with_draw_target(target);
        // One bar holds all live lines, so that a redraw is one write and never half a picture.
        let live = bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            live.set_style(style);
        }
        let drawing = Drawing {
            model: Model::new(verbose),
            bars,
            live,
            asking: false,
        };
        let screen = Screen {
            terminal,
            color,
            clock,
            drawing: Mutex::new(drawing),
        };
        Self {
            screen: Arc::new(screen),
            refresher: None,
            answers: None,
        }
    }

    /// Asks from now on, and reads the answers here.
    #[must_use]
    pub fn answered_by(mut self, answers: Answers) -> Self {
        self.answers = Some(answers);
        self
    }

    /// Draws a few times a second from now on, so that time is seen to pass. Where no thread can be had, stays with
    /// drawing after every event.
    #[must_use]
    pub fn refreshing(mut self) -> Self {
        let screen = Arc::clone(&self.screen);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(REFRESH_EVERY) {
                    screen.refresh(&mut screen.lock());
                }
            });
        self.refresher = thread.ok().map(|thread| Refresher { stop, thread });
        self
    }

    /// Draws what is known now.
    pub fn refresh(&self) {
        self.screen.refresh(&mut self.screen.lock());
    }
}

impl Reporter for TerminalReporter {
    fn event(&self, event: &Event) {
        let mut drawing = self.screen.lock();
        drawing.model.event(event, self.screen.clock.elapsed());
        let is_last = matches!(event, Event::Finished { .. });
        let is_over = is_last || matches!(event, Event::StepFinished { .. } | Event::UnwindStarted { .. });
        if drawing.asking && is_over {
            // Nobody waits for the answer any more: the run was interrupted. The cursor stands behind the question.
            drawing.asking = false;
            let _ = self.screen.terminal.write_line("");
        }
        if is_last || self.refresher.is_none() {
            self.screen.refresh(&mut drawing);
        }
    }

    fn asks(&self) -> bool {
        self.answers.is_some()
    }

    fn ask(&self, question: &Question) -> bool {
        self.picture_first(question, |answers, prompt| {
            answers.confirm(&question.question, prompt)
        })
        .unwrap_or(false)
    }

    fn reply(&self, question: &Question) -> Reply {
        self.picture_first(question, |answers, prompt| {
            answers.reply(&question.question, prompt)
        })
        .unwrap_or(Reply::Gone)
    }
}

impl TerminalReporter {
    /// Asks somebody, if anybody is there.
    fn picture_first<T>(
        &self,
        question: &Question,
        ask: impl FnOnce(&Answers, &mut dyn Write) -> T,
    ) -> Option<T> {
        let answers = self.answers.as_ref()?;
        self.screen.begin_to_ask(&mut self.screen.lock(), question);
        // Unlocked while it waits: a run that is interrupted instead has more to say.
        let answer = ask(answers, &mut Prompt(&*self.screen.terminal));
        let mut drawing = self.screen.lock();
        drawing.asking = false;
        self.screen.refresh(&mut drawing);
        Some(answer)
    }
}

/// Writes where the cursor stands.
struct Prompt<'a>(&'a dyn TermLike);

impl Write for Prompt<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // A question is written whole, in text that is printable.
        self.0.write_str(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for TerminalReporter {
    fn drop(&mut self) {
        if let Some(Refresher { stop, thread }) = self.refresher.take() {
            drop(stop);
            let _ = thread.join();
        }
        // A run that ended without its last event leaves no half-drawn line behind.
        let mut drawing = self.screen.lock();
        drawing.model.abandon();
        self.screen.refresh(&mut drawing);
    }
}

struct Refresher {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

struct Screen {
    terminal: Arc<dyn TermLike>,
    color: bool,
    clock: Arc<dyn Clock>,
    drawing: Mutex<Drawing>,
}

struct Drawing {
    model: Model,
    bars: MultiProgress,
    live: ProgressBar,
    /// A question stands on the screen: nothing is drawn over it.
    asking: bool,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Drawing> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines that are there to stay, then redraws the live ones below. Write errors are ignored: the
    /// terminal may be gone, the deploy goes on.
    fn refresh(&self, drawing: &mut Drawing) {
        if drawing.asking {
            return;
        }
        let columns = usize::from(self.terminal.width());
        let lines = drawing.model.take_permanent(columns);
        if !lines.is_empty() {
            // Not `println` nor `suspend` of indicatif: the one pads lines to the full width, which shows when they
            // are copied, the other panics when a write fails.
            let _ = drawing.bars.clear();
            for line in &lines {
                let _ = self.terminal.write_line(&line.painted(self.color));
            }
            let _ = self.terminal.flush();
        }
        let frame = drawing
            .model
            .frame(self.clock.elapsed(), columns, usize::from(self.terminal.height()));
        let frame: Vec<String> = frame.iter().map(|line: &Line| line.painted(self.color)).collect();
        if frame.is_empty() {
            let _ = drawing.bars.clear();
        } else {
            drawing.live.set_message(frame.join("\n"));
            drawing.live.force_draw();
        }
    }
}

impl Screen {
    /// Writes what is still to be written, takes the live lines away, and puts the picture there instead.
    fn begin_to_ask(&self, drawing: &mut Drawing, question: &Question) {
        self.refresh(drawing);
        drawing.asking = true;
        let _ = drawing.bars.clear();
        let columns = view::usable(usize::from(self.terminal.width()));
        for line in picture(question, columns, usize::from(self.terminal.height())) {
            let _ = self.terminal.write_line(&line.painted(self.color));
        }
        let _ = self.terminal.flush();
    }
}

/// Lets indicatif and this module write to the same terminal.
#[derive(Debug)]
struct SharedTerminal(Arc<dyn TermLike>);

impl TermLike for SharedTerminal {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, lines: usize) -> std::io::Result<()> {
        self.0.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> std::io::Result<()> {
        self.0.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> std::io::Result<()> {
        self.0.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> std::io::Result<()> {
        self.0.move_cursor_left(columns)
    }

    fn write_line(&self, line: &str) -> std::io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> std::io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> std::io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> std::io::Result<()> {
        self.0.flush()
    }
}
