//! An app that answers as scripted, and remembers what it was asked.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use viatique_deploy::app::edge::{EdgeError, Page, Presented, Way};
use viatique_deploy::app::http::HttpApp;
use viatique_deploy::app::{Answer, App, AppError, Call, Request, Response};

type Script = dyn Fn(&Request, usize) -> Result<(u16, String), String> + Send + Sync;

type Site = dyn Fn(&Call, usize) -> Result<Answer, String> + Send + Sync;

/// Answers through a closure of the request and how many came before it.
#[derive(Clone)]
pub(crate) struct FakeApp {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Request>>>,
    site: Arc<Site>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl FakeApp {
    /// Answers by the closure: a status and a body, or why there is no answer.
    pub(crate) fn answering(
        script: impl Fn(&Request, usize) -> Result<(u16, String), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            asked: Arc::default(),
            site: Arc::new(|_, _| Err("this site has no users".to_owned())),
            calls: Arc::default(),
        }
    }

    /// Users' requests are answered by this closure, of the request and how many came before it.
    #[must_use]
    pub(crate) fn with_site(
        mut self,
        site: impl Fn(&Call, usize) -> Result<Answer, String> + Send + Sync + 'static,
    ) -> Self {
        self.site = Arc::new(site);
        self
    }

    /// What users have asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Always well.
    pub(crate) fn healthy() -> Self {
        Self::answering(|_, _| Ok((200, "ok".to_owned())))
    }

    /// Never answers.
    pub(crate) fn unreachable() -> Self {
        Self::answering(|_, _| Err("connection refused".to_owned()))
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl App for FakeApp {
    async fn get(&self, request: &Request) -> Result<Response, AppError> {
        let before = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        match (self.script)(request, before) {
            Ok((status, body)) => Ok(Response {
                status,
                body,
                elapsed: Duration::from_millis(1),
            }),
            Err(message) => Err(AppError {
                url: request.url.clone(),
                message,
            }),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, AppError> {
        let before = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            calls.len() - 1
        };
        match (self.site)(&call, before) {
            Ok(answer) => {
                // As long as it says: who waits for it may be interrupted meanwhile.
                tokio::time::sleep(answer.elapsed).await;
                Ok(answer)
            }
            Err(message) => Err(AppError {
                url: call.url,
                message,
            }),
        }
    }

    // The edge is never scripted: tests of it bring servers of their own.

    async fn visit(&self, url: &str, way: &Way) -> Result<Page, EdgeError> {
        HttpApp::new().unwrap().visit(url, way).await
    }

    async fn certificate(&self, name: &str, port: u16, way: &Way) -> Result<Presented, EdgeError> {
        HttpApp::new().unwrap().certificate(name, port, way).await
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, EdgeError> {
        HttpApp::new().unwrap().addresses(name).await
    }
}
