//! TLS by `rustls` on whatever connection `ureq` has made.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use thiserror::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

/// The two sides do not come to terms: nothing that passes.
#[derive(Debug, Error)]
#[error("{0}")]
pub(in crate::http) struct Handshake(String);

/// Wraps connections to `https://` addresses.
pub(in crate::http) struct HeldTls(pub(in crate::http) Arc<ClientConfig>);

impl<In: Transport> Connector<In> for HeldTls {
    type Out = Either<In, HeldTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        // Those of IPv6 stand in brackets.
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let name = ServerName::try_from(bare.unwrap_or(host))
            .map_err(|_| {
                ureq::Error::Tls("the address names no host that a certificate could be for")
            })?
            .to_owned();
        let boxed: Box<dyn Transport> = Box::new(transport);
        let mut sock = TransportAdapter::new(boxed, Arc::clone(&details.current_time));
        sock.set_timeout(details.timeout);
        let mut conn = ClientConnection::new(Arc::clone(&self.0), name).map_err(handshake)?;
        while conn.is_handshaking() {
            conn.complete_io(&mut sock).map_err(told)?;
        }
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        let stream = StreamOwned { conn, sock };
        Ok(Some(Either::B(HeldTransport { buffers, stream })))
    }
}

impl fmt::Debug for HeldTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldTls")
    }
}

/// A connection with TLS.
pub(in crate::http) struct HeldTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for HeldTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(told)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self
            .stream
            .read(self.buffers.input_append_buf())
            .map_err(told)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for HeldTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldTransport")
    }
}

/// What `rustls` says comes packed into an I/O error, as does what `ureq` says below it.
fn told(error: io::Error) -> ureq::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(error) => handshake(rustls::Error::clone(error)),
        None => error.into(),
    }
}

fn handshake(error: rustls::Error) -> ureq::Error {
    ureq::Error::Other(Box::new(Handshake(match error {
        // Ours, or the key's holder's.
        rustls::Error::General(text) => text,
        error => error.to_string(),
    })))
}
