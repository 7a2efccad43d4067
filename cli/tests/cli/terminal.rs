//! A person at a terminal: questions, echo, the bar, colours. The terminal is a pseudo-terminal; `setsid` of util-linux makes it
//! the controlling one, which is where the command line asks.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::support::{Machine, VAULT, signal};

const PATIENCE: Duration = Duration::from_secs(60);
const PASSPHRASE: &str = "correct horse battery";
const ESC: char = '\u{1b}';
/// What takes a line off the screen.
const CLEARED: &str = "\r\u{1b}[2K";

/// A command at a terminal, and what its screen received.
pub(super) struct Terminal {
    child: Child,
    master: File,
    screen: Receiver<Vec<u8>>,
    text: String,
    /// How much of the text has been answered.
    read: usize,
}

impl Terminal {
    pub(super) fn start(m: &Machine, args: &[&str]) -> Self {
        Self::with(m, args, |_| {})
    }

    fn with(m: &Machine, args: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let end = || -> Stdio { OpenOptions::new().read(true).write(true).open(&name).unwrap().into() };
        let mut command = m.program("setsid", &[&["--ctty", VAULT], args].concat());
        // setsid takes the place of this child and vault that of setsid: the process id is vault's.
        command.env_remove("MODELVAULT_KEY_FILE").env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        adjust(&mut command);
        let child = command.spawn().unwrap();
        // Our copies of its end, without which the screen would never end.
        drop(command);
        let master = File::from(master);
        let mut reader = master.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // EIO says that nobody has the other end any more.
            while let Ok(len @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, master, screen, text: String::new(), read: 0 }
    }

    /// All that the screen received by now.
    pub(super) fn screen_so_far(&self) -> String {
        self.text.clone()
    }

    /// Waits until the screen shows `text` after what was answered so far.
    pub(super) fn sees(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text[self.read..].contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            let piece = self.screen.recv_timeout(left);
            let piece = piece.unwrap_or_else(|e| panic!("no {text:?} ({e}) on {:?}", self.text));
            self.text += &String::from_utf8_lossy(&piece);
        }
        self.read = self.text.len();
    }

    pub(super) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Sees a question for a passphrase, which must not be echoed, and answers it.
    fn tells(&mut self, prompt: &str, passphrase: &str) {
        self.sees(prompt);
        assert!(!self.echoes(), "{prompt}");
        self.types(&format!("{passphrase}\n"));
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end; returns the exit status and all that the screen received.
    pub(super) fn ends(mut self) -> (Option<i32>, String) {
        while let Ok(piece) = self.screen.recv_timeout(PATIENCE) {
            self.text += &String::from_utf8_lossy(&piece);
        }
        let status = self.child.wait().unwrap().code();
        assert!(self.echoes(), "the terminal is as it was: {}", self.text);
        (status, std::mem::take(&mut self.text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With a vault under [`PASSPHRASE`], which nobody types in vain.
fn machine() -> Machine {
    let m = Machine::bare();
    let mut init = Terminal::start(&m, &["init"]);
    init.tells("Passphrase of the new vault: ", PASSPHRASE);
    init.tells("The same again: ", PASSPHRASE);
    let (status, screen) = init.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains(PASSPHRASE), "a passphrase is never shown: {screen}");
    assert!(screen.contains("nothing else opens the vault"), "{screen}");
    m
}

#[test]
fn init_asks_twice_without_echo_and_what_was_typed_opens_the_vault() {
    let m = machine();
    let mut ls = Terminal::start(&m, &["ls"]);
    ls.tells("Passphrase of the vault: ", PASSPHRASE);
    let (status, screen) = ls.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("the vault is empty"), "{screen}");
}

#[test]
fn passphrases_that_differ_or_are_empty_make_no_vault() {
    let m = Machine::bare();
    let mut init = Terminal::start(&m, &["init"]);
    init.tells("Passphrase of the new vault: ", "one");
    init.tells("The same again: ", "other");
    let (status, screen) = init.ends();
    assert_eq!(status, Some(4), "{screen}");
    assert!(screen.contains("the two passphrases differ") && screen.contains("run the command again"), "{screen}");
    let mut init = Terminal::start(&m, &["init"]);
    init.tells("Passphrase of the new vault: ", "");
    let (status, screen) = init.ends();
    assert_eq!(status, Some(4), "{screen}");
    assert!(screen.contains("no passphrase was typed"), "{screen}");
    assert!(!m.home().exists());
}

#[test]
fn a_wrong_passphrase_is_refused_and_not_shown() {
    let m = machine();
    let mut ls = Terminal::start(&m, &["ls"]);
    ls.tells("Passphrase of the vault: ", "incorrect horse");
    let (status, screen) = ls.ends();
    assert_eq!(status, Some(4), "{screen}");
    assert!(screen.contains("does not open this vault") && !screen.contains("incorrect horse"), "{screen}");
}

#[test]
fn an_interrupt_at_a_prompt_ends_with_130_and_gives_the_echo_back() {
    let m = Machine::bare();
    let mut init = Terminal::start(&m, &["init"]);
    init.sees("Passphrase of the new vault: ");
    assert!(!init.echoes());
    init.types("\u{3}");
    assert_eq!(init.ends().0, Some(130));
    for name in ["TERM", "HUP"] {
        let mut init = Terminal::start(&m, &["init"]);
        init.sees("Passphrase of the new vault: ");
        signal(&init.child, name);
        assert_eq!(init.ends().0, Some(130), "{name}");
    }
    assert!(!m.home().exists());
}

#[test]
fn where_there_is_no_vault_a_person_is_offered_one() {
    let m = Machine::bare();
    let model = m.file("model.onnx", 1000);
    let mut seal = Terminal::start(&m, &["seal", "model.onnx"]);
    seal.sees("Make one? [Y/n] ");
    seal.types("n\n");
    let (status, screen) = seal.ends();
    assert_eq!(status, Some(2), "{screen}");
    assert!(screen.contains("no vault in") && !m.home().exists(), "{screen}");
    let mut seal = Terminal::start(&m, &["seal", "model.onnx"]);
    seal.sees("Make one? [Y/n] ");
    seal.types("\n");
    seal.tells("Passphrase of the new vault: ", PASSPHRASE);
    seal.tells("The same again: ", PASSPHRASE);
    let (status, screen) = seal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("default/model@v1"), "{screen}");
    fs::write(m.path("pw"), PASSPHRASE).unwrap();
    assert_eq!(m.ok(&["open", "model", "--passphrase-file", "pw"]), model);
}

#[test]
fn questions_come_before_the_bar_and_bytes_never_go_to_a_terminal() {
    let m = machine();
    m.file("model.onnx", 1_000_000);
    let mut seal = Terminal::start(&m, &["seal", "model.onnx", "-o", "m.mvlt", "--to", "passphrase"]);
    seal.tells("Passphrase for m.mvlt: ", "portable");
    seal.tells("The same again: ", "portable");
    let (status, screen) = seal.ends();
    assert_eq!(status, Some(0), "{screen}");
    let mut import = Terminal::start(&m, &["import", "m.mvlt"]);
    import.tells("Passphrase of the vault: ", PASSPHRASE);
    import.tells("Passphrase of m.mvlt: ", "portable");
    let (status, screen) = import.ends();
    assert_eq!(status, Some(0), "{screen}");
    let asked = screen.find("Passphrase of m.mvlt").unwrap();
    assert!(!screen[..asked].contains("importing"), "{screen}");
    for to in [&[][..], &["-o", "-"]] {
        // Nobody is asked for a passphrase that would be of no use.
        let (status, screen) = Terminal::start(&m, &[&["open", "m.mvlt"], to].concat()).ends();
        assert_eq!(status, Some(2), "{screen}");
        assert!(
            !screen.contains("Passphrase") && screen.contains("refusing to write binary data to a terminal"),
            "{screen}"
        );
    }
}

/// A pipe that is read slowly makes any machine slow enough for a bar.
#[test]
fn a_long_command_shows_a_bar_on_a_terminal_alone_and_takes_it_away_before_an_error() {
    let m = Machine::bare();
    fs::write(m.path("pw"), "p").unwrap();
    m.file("model.onnx", 20_000_000);
    m.ok(&["seal", "model.onnx", "-o", "m.mvlt", "--to", "passphrase", "--passphrase-file", "pw"]);
    let fifo = m.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let open = ["open", "m.mvlt", "-o", "fifo", "--passphrase-file", "pw"];
    let slowly = || {
        let mut out = File::open(&fifo).unwrap();
        let mut piece = vec![0; 2_000_000];
        out.read_exact(&mut piece).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        out.read_exact(&mut piece).unwrap();
        out
    };

    let mut watched = Terminal::start(&m, &open);
    let out = slowly();
    watched.sees("opening ");
    drop(out);
    let (status, screen) = watched.ends();
    assert_eq!(status, Some(10), "{screen}");
    let (before, _) = screen.split_once("vault: ").unwrap();
    assert!(before.ends_with(CLEARED), "the bar is gone when the error comes: {screen:?}");

    let unwatched = m.command(&open).stderr(Stdio::piped()).spawn().unwrap();
    drop(slowly());
    let out = unwatched.wait_with_output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.starts_with("vault: error: ") && !text.contains("opening "), "{text:?}");
}

#[test]
fn colours_are_shown_on_a_terminal_unless_no_color_is_set() {
    let m = Machine::bare();
    for (args, status) in [(&["ls"][..], 2), (&["seal", "--help"], 0), (&["help", "seal"], 0), (&["workload"], 2)] {
        let (found, screen) = Terminal::start(&m, args).ends();
        assert_eq!(found, Some(status), "{screen}");
        assert!(screen.contains(ESC), "{args:?}: {screen}");
        let plain = Terminal::with(&m, args, |c| {
            c.env("NO_COLOR", "1");
        });
        let (found, screen) = plain.ends();
        assert_eq!(found, Some(status), "{screen}");
        assert!(!screen.contains(ESC), "{args:?}: {screen:?}");
    }
}

#[test]
fn hostile_names_reach_no_terminal_as_they_are() {
    let m = machine();
    m.file("model.onnx", 10);
    let hostile = "a\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}.mvlt";
    let mut seal = Terminal::start(&m, &["seal", "model.onnx", "-o", hostile, "--to", "passphrase"]);
    seal.tells("Passphrase for a\\u{1b}]0;owned", "p");
    seal.tells("The same again: ", "p");
    let (status, screen) = seal.ends();
    assert_eq!(status, Some(0), "{screen}");
    let mut screens = vec![screen];
    for args in [
        &["inspect", hostile][..],
        &["inspect", hostile, "--json"],
        &["verify", hostile, "--keyless"],
        &["open", "model.onnx", "-o", hostile],
        &["open", "no\u{1b}[2J", "-o", "x", "--json"],
        &["sael\u{1b}[2J"],
        &["seal", "model.onnx", "--kind", "\u{9b}2J"],
        &["help", "\u{1b}[2J"],
        &["man", "-o", "pages\u{1b}[2J"],
        &["quickstart", "none\u{1b}[2J"],
        &["ls", "--home", "h\u{1b}[2J"],
        &["ls", "--passphrase-file", "p\u{1b}[2J"],
    ] {
        let quiet = Terminal::with(&m, args, |c| {
            c.env("NO_COLOR", "1");
        });
        screens.push(quiet.ends().1);
    }
    for screen in screens {
        let drives = |c: char| (c.is_control() && !matches!(c, '\r' | '\n')) || c == '\u{202e}';
        assert!(!screen.replace(CLEARED, "").contains(drives), "{screen:?}");
    }
}
