//! A long-lived process that is asked over pipes: one line of JSON for a question, one for the
//! answer. Starting an interpreter takes 50 times as long as what it is asked here.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

/// An answer takes milliseconds. One that takes this long does not come, and its test must end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running process that answers.
pub struct Talk {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Talk {
    /// Starts the process.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let questions = child.stdin.take().expect("the pipe was just asked for");
        let stdout = child.stdout.take().expect("the pipe was just asked for");
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            questions,
            answers,
        }
    }

    /// Asks, and waits for the answer. Fails the test if none comes.
    pub fn request(&mut self, request: &Value) -> Value {
        self.try_request(request)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks, and waits for the answer; an error is what the process failed with, or that it ended.
    pub fn try_request(&mut self, request: &Value) -> Result<Value, String> {
        writeln!(self.questions, "{request}")
            .and_then(|()| self.questions.flush())
            .map_err(|error| format!("no questions are taken any more ({error}): {request}"))?;
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .map_err(|error| format!("there is no answer ({error}) to {request}"))?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| format!("no JSON ({error}) in answer to {request}: {line}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(format!("{request} failed:\n{error}")),
            None => Ok(answer),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may be waiting for a question or be stuck in one: nothing of it is needed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
