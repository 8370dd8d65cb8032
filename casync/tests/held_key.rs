//! TLS with a client's key that is not given away, against OpenSSL's TLS, a proxy, and servers that say
//! nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may stop where it stands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use casync::http::{
    Address, Client, ClientKey, HttpError, Identity, Patience, Proxy, Settings, SigningError, Tls,
    TlsSignature,
};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

/// What the servers here give.
const CONTENT: &[u8] = b"what was asked for";

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate that vouches for itself, for localhost.
fn certificate(key: &PKey<Private>, name: &str) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    let (from, until) = (Asn1Time::from_unix(0), Asn1Time::days_from_now(30));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost");
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// Signs, or says why not.
struct Held {
    key: PKey<Private>,
    refusal: Option<&'static str>,
    asked: AtomicUsize,
}

impl ClientKey for Held {
    fn schemes(&self) -> &[TlsSignature] {
        &[TlsSignature::EcdsaP256]
    }

    fn sign(&self, scheme: TlsSignature, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        assert_eq!(scheme, TlsSignature::EcdsaP256);
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.refusal {
            Some(refusal) => Err(refusal.into()),
            None => {
                let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
                Ok(signer.sign_oneshot_to_vec(message)?)
            }
        }
    }
}

/// Both sides: their certificates, and the client's key.
struct Bench {
    server: (PKey<Private>, X509),
    client: X509,
    held: Arc<Held>,
}

impl Bench {
    fn new(refusal: Option<&'static str>) -> Self {
        let (server, client) = (key(), key());
        Self {
            server: (server.clone(), certificate(&server, "server")),
            client: certificate(&client, "client"),
            held: Arc::new(Held {
                key: client,
                refusal,
                asked: AtomicUsize::new(0),
            }),
        }
    }

    /// A server that wants to see the client's certificate; its port.
    fn serve(&self, version: SslVersion) -> u16 {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&self.server.0).unwrap();
        acceptor.set_certificate(&self.server.1).unwrap();
        acceptor.set_min_proto_version(Some(version)).unwrap();
        acceptor.set_max_proto_version(Some(version)).unwrap();
        acceptor
            .cert_store_mut()
            .add_cert(self.client.clone())
            .unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        let acceptor = acceptor.build();
        listen(move |stream| {
            let Ok(mut stream) = acceptor.accept(stream) else {
                return;
            };
            let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
            if lines.any(|line| line.is_empty()) {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    CONTENT.len()
                );
                stream
                    .write_all(&[head.as_bytes(), CONTENT].concat())
                    .unwrap();
            }
        })
    }

    fn client(&self, proxy: Option<Proxy>, patience: Patience) -> Client {
        let identity = Identity::Held {
            chain: self.client.to_pem().unwrap(),
            key: self.held.clone(),
        };
        let settings = Settings {
            patience,
            proxy,
            tls: Tls {
                authorities: Some(self.server.1.to_pem().unwrap()),
                identity: Some(identity),
                ..Tls::default()
            },
            ..Settings::default()
        };
        Client::new(settings).unwrap()
    }
}

/// Does the same with every connection; gives the port.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn hasty() -> Patience {
    Patience {
        connect: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        tries: 2,
        first_pause: Duration::from_millis(1),
        ..Patience::default()
    }
}

fn get(client: &Client, port: u16) -> Result<Vec<u8>, HttpError> {
    let mut content = Vec::new();
    let address = Address::parse(&format!("https://localhost:{port}/a?token=geheim")).unwrap();
    client.get(&address, 1000, &mut content)?;
    Ok(content)
}

#[test]
fn each_connection_takes_one_signature() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let bench = Bench::new(None);
        let port = bench.serve(version);
        let client = bench.client(None, Patience::default());
        assert_eq!(get(&client, port).unwrap(), CONTENT);
        assert_eq!(bench.held.asked.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_proxy_sees_no_more_than_the_name() {
    let bench = Bench::new(None);
    let port = bench.serve(SslVersion::TLS1_3);
    let (seen, asked) = mpsc::channel();
    let proxy = listen(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        while !lines.next().unwrap().unwrap().is_empty() {}
        seen.send(first.clone()).unwrap();
        let mut server = TcpStream::connect(first.split(' ').nth(1).unwrap()).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut back, mut there) = (stream.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut there, &mut back));
        let _ = std::io::copy(&mut stream, &mut server);
    });
    let proxy = Proxy::new(&format!("http://127.0.0.1:{proxy}")).unwrap();
    let client = bench.client(Some(proxy), Patience::default());
    assert_eq!(get(&client, port).unwrap(), CONTENT);
    let first = asked.recv().unwrap();
    assert_eq!(first, format!("CONNECT localhost:{port} HTTP/1.1"));
}

#[test]
fn a_key_that_does_not_sign_is_no_reason_to_try_again() {
    let bench = Bench::new(Some("the card was taken out"));
    let port = bench.serve(SslVersion::TLS1_3);
    let error = get(&bench.client(None, Patience::default()), port).unwrap_err();
    let HttpError::Tls { address, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(source.to_string(), "the card was taken out");
    assert!(!address.to_string().contains("geheim"));
    assert_eq!(bench.held.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let bench = Bench::new(None);
    let port = listen(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = get(&bench.client(None, hasty()), port).unwrap_err();
    let HttpError::GaveUp {
        tries: 2, source, ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("timeout"), "{source}");
}

#[test]
fn who_waits_for_a_silent_server_can_be_stopped() {
    let bench = Bench::new(None);
    let (seen, connected) = mpsc::channel();
    // Silent from the beginning.
    let port = listen(move |mut stream| {
        seen.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let client = bench.client(None, Patience::default());
    let waiting = {
        let client = client.clone();
        thread::spawn(move || get(&client, port))
    };
    connected.recv().unwrap();
    client.stop();
    let stopped = waiting.join().unwrap();
    assert!(matches!(stopped, Err(HttpError::Stopped(_))), "{stopped:?}");
}
