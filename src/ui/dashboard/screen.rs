//! The terminal of a dashboard: raw mode, the other screen, keys, and a thread that draws. It alone names crossterm.
//!
//! In raw mode the terminal makes no signal of Ctrl-C: whoever opens the screen says what the key does instead. Nothing
//! here waits for a terminal that does not take what is written: closing gives up on it after a moment.

use std::io::{Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute, style};

use super::model::{Key, Model};
use super::view::draw;
use super::{Clock, Screen};

/// How long a key is waited for, and so how late at most a new look, or the end, is seen.
const KEYS: Duration = Duration::from_millis(200);
/// Time is seen to pass.
const REDRAWN: Duration = Duration::from_secs(1);
/// How long a terminal may take for the last of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A terminal is ours: what a panic must know.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal that stderr writes to and stdin reads from.
pub(crate) struct TerminalScreen {
    color: bool,
    clock: Arc<dyn Clock>,
    /// What `q` and Ctrl-C do.
    end: Arc<dyn Fn() + Send + Sync>,
    drawing: Option<Drawing>,
}

/// The thread.
struct Drawing {
    stop: mpsc::Sender<()>,
    /// Ends with the thread.
    done: mpsc::Receiver<()>,
}

impl TerminalScreen {
    /// Takes nothing yet.
    pub(crate) fn new(color: bool, clock: Arc<dyn Clock>, end: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            color,
            clock,
            end,
            drawing: None,
        }
    }
}

impl Screen for TerminalScreen {
    fn open(&mut self, model: Arc<Mutex<Model>>) -> std::io::Result<()> {
        // What was chosen on the command line has been held against NO_COLOR already.
        style::force_color_output(self.color);
        give_back_on_panic();
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let entered = execute!(std::io::stderr(), EnterAlternateScreen, cursor::Hide);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(std::io::stderr())));
        let terminal = terminal.inspect_err(|_| give_back())?;
        let (stop, stopped) = mpsc::channel();
        let (end_of_thread, done) = mpsc::channel();
        let (color, clock, end) = (self.color, Arc::clone(&self.clock), Arc::clone(&self.end));
        let drawn = std::thread::Builder::new()
            .name("dashboard".to_owned())
            .spawn(move || {
                // Dropped with the thread, whatever ends it.
                let _end_of_thread: mpsc::Sender<()> = end_of_thread;
                // A terminal that has gone ends the dashboard, and nothing else.
                let _ = show(terminal, &model, color, &*clock, &*end, &stopped);
                give_back();
            });
        match drawn {
            Ok(_) => {
                self.drawing = Some(Drawing { stop, done });
                Ok(())
            }
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    fn is_open(&self) -> bool {
        self.drawing
            .as_ref()
            .is_some_and(|drawing| drawing.done.try_recv() == Err(mpsc::TryRecvError::Empty))
    }

    fn close(&mut self) {
        let Some(Drawing { stop, done }) = self.drawing.take() else {
            return;
        };
        drop(stop);
        // The end of the thread is an error of the channel, too.
        if done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            give_back();
        }
    }
}

/// Draws, and reads keys, until it is told to stop.
fn show(
    mut terminal: Terminal<CrosstermBackend<Stderr>>,
    model: &Mutex<Model>,
    color: bool,
    clock: &dyn Clock,
    end: &(dyn Fn() + Send + Sync),
    stopped: &mpsc::Receiver<()>,
) -> std::io::Result<()> {
    let mut drawn: Option<(Duration, u64)> = None;
    while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
        let now = clock.elapsed();
        let is_due = drawn.is_none_or(|(at, version)| {
            now.saturating_sub(at) >= REDRAWN || version != lock(model).version()
        });
        if is_due {
            // Copied, so that a slow terminal keeps nobody from telling what is new.
            let shown = lock(model).clone();
            terminal.draw(|frame| draw(&shown, now, color, frame))?;
            drawn = Some((now, shown.version()));
        }
        if event::poll(KEYS)? {
            match event::read()? {
                event::Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                    if lock(model).key(key(pressed)) {
                        end();
                    }
                }
                event::Event::Resize(_, _) => drawn = None,
                event::Event::Key(_)
                | event::Event::FocusGained
                | event::Event::FocusLost
                | event::Event::Mouse(_)
                | event::Event::Paste(_) => {}
            }
        }
    }
    Ok(())
}

fn lock(model: &Mutex<Model>) -> std::sync::MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(pressed: KeyEvent) -> Key {
    let keys: &[(KeyCode, Key)] = if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        &[(KeyCode::Char('c'), Key::End)]
    } else {
        &[
            (KeyCode::Char('q'), Key::End),
            (KeyCode::Char('s'), Key::Sort),
            (KeyCode::Char('?'), Key::Help),
            (KeyCode::Char('h'), Key::Help),
            (KeyCode::Char('j'), Key::Down),
            (KeyCode::Down, Key::Down),
            (KeyCode::Char('k'), Key::Up),
            (KeyCode::Up, Key::Up),
            (KeyCode::Tab, Key::Next),
            (KeyCode::PageUp, Key::PageUp),
            (KeyCode::PageDown, Key::PageDown),
        ]
    };
    let found = keys.iter().find(|(code, _)| *code == pressed.code);
    found.map_or(Key::Other, |(_, key)| *key)
}

/// The terminal as it was. Once, whoever is first: the thread, the end, or a panic.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let mut stderr = std::io::stderr();
        let _ = execute!(stderr, LeaveAlternateScreen, cursor::Show);
        let _ = stderr.flush();
    }
}

/// The message of a panic would be written to a screen that goes away.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}
