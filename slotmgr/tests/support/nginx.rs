//! A real web server: nginx, with and without TLS.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::run;

/// nginx, serving a directory until it is dropped.
pub struct Nginx {
    child: Child,
    directory: PathBuf,
    port: u16,
    scheme: &'static str,
}

impl Nginx {
    /// Serves `root`; what it writes, its logs among it, goes to `directory`.
    pub fn http(root: &Path, directory: &Path) -> Nginx {
        Nginx::start("http", "", root, directory)
    }

    /// The same by TLS, for clients with a certificate. [`authority`] has made `directory`.
    pub fn https(root: &Path, directory: &Path) -> Nginx {
        Nginx::https_by("TLSv1.2 TLSv1.3", root, directory)
    }

    /// The same by these versions of TLS only.
    pub fn https_by(versions: &str, root: &Path, directory: &Path) -> Nginx {
        let shown = directory.display();
        let tls = format!(
            "ssl_certificate {shown}/server.pem; ssl_certificate_key {shown}/server.key; \
             ssl_client_certificate {shown}/ca.pem; ssl_verify_client on; \
             ssl_protocols {versions};"
        );
        Nginx::start("https", &tls, root, directory)
    }

    fn start(scheme: &'static str, tls: &str, root: &Path, directory: &Path) -> Nginx {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let port = port.unwrap().port();
        let ssl = if tls.is_empty() { "" } else { "ssl" };
        let (shown, root) = (directory.display(), root.display());
        let conf = format!(
            "user root; worker_processes 1; daemon off; pid {shown}/pid; error_log {shown}/error;\n\
             events {{}}\nhttp {{ access_log {shown}/access; client_body_temp_path {shown}/b; \
             proxy_temp_path {shown}/p; fastcgi_temp_path {shown}/f; uwsgi_temp_path {shown}/u; \
             scgi_temp_path {shown}/s;\n\
             server {{ listen 127.0.0.1:{port} {ssl}; root {root}; {tls} }} }}\n"
        );
        let path = directory.join("nginx.conf");
        fs_err::write(&path, conf).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(directory)
            .spawn()
            .expect("nginx runs");
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "nginx does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Nginx {
            child,
            directory: directory.to_owned(),
            port,
            scheme,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}/{path}", self.scheme, self.port)
    }

    /// The lines of its log.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.directory.join("access")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process ends its workers on SIGTERM, and leaves them on SIGKILL.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// An authority (`ca.pem`), a server called localhost and a client of it, each with `.pem` and `.key`.
pub fn authority(directory: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory);
        run(&mut command);
    };
    openssl(&format!(
        "req -x509 {EC} -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=authority"
    ));
    fs_err::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    for name in ["server", "client"] {
        certified(directory, name, EC);
    }
}

/// How `openssl req` makes a key on P-256.
pub const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// Somebody else whom the authority vouches for, with a key that `openssl req` makes so.
pub fn certified(directory: &Path, name: &str, key: &str) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory);
        run(&mut command);
    };
    openssl(&format!(
        "req {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
    ));
    openssl(&format!(
        "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
         -extfile names -out {name}.pem"
    ));
}
