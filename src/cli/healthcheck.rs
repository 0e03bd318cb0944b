//! `jeton healthcheck`: for containers without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Failure;
use crate::config::address;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The options of `jeton healthcheck`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The address of the management listener
    #[arg(
        long,
        env = "JETON_MANAGEMENT_LISTEN",
        default_value = "127.0.0.1:8081",
        value_parser = address,
        value_name = "ADDRESS"
    )]
    management_listen: SocketAddr,
}

pub(super) async fn run(options: &Options) -> Result<(), Failure> {
    let answer = ask(reachable(options.management_listen)).await?;
    if answer.is_ready {
        Ok(())
    } else {
        Err(Failure::failed(format!("not ready: {}", answer.report)))
    }
}

/// The address by which this machine reaches a listener: one that listens everywhere is asked here.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    address.set_ip(match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    });
    address
}

/// What `/readyz` answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) is_ready: bool,
    pub(super) report: String,
}

/// Asks `/readyz`.
///
/// # Errors
/// That nobody answers there, or in time.
pub(super) async fn ask(address: SocketAddr) -> Result<Answer, Failure> {
    let answer = timeout(TIMEOUT, exchange(address)).await;
    let answer = answer.map_err(|_| format!("no answer from {address} in time"))?;
    let answer = answer.map_err(|error| {
        format!("cannot ask {address} (--management-listen): {error}; is the service running?")
    })?;
    let report = answer.split_once("\r\n\r\n").map_or("", |(_, content)| content).to_owned();
    Ok(Answer { is_ready: answer.starts_with("HTTP/1.1 200 "), report })
}

async fn exchange(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
