use super::*;
use axum::routing::get;
use tokio::io::AsyncWriteExt;

const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// A caller, and the service of its connection, which ends as the connection does.
async fn connect(service: Router, patience: Patience) -> (TcpStream, CancellationToken, Ended) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap());
    let (caller, taken) = tokio::join!(caller, listener.accept());
    let (tcp, peer) = taken.unwrap();
    let stop = CancellationToken::new();
    let served = serve(tcp, None, peer, service, (stop.clone(), patience));
    (caller.unwrap(), stop, Box::pin(served))
}

type Ended = std::pin::Pin<Box<dyn Future<Output = ()>>>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_caller_who_takes_nothing_is_given_up() {
    let large = Router::new().route("/", get(|| async { vec![0; 64 << 20] }));
    let patience = Patience {
        taken: SOON,
        finish: NEVER,
    };
    let (mut caller, _stop, ended) = connect(large, patience).await;
    caller.write_all(REQUEST).await.unwrap();
    ended.await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_holds_up_no_drain() {
    let silent = Router::new().route("/", get(std::future::pending::<()>));
    let patience = Patience {
        taken: NEVER,
        finish: SOON,
    };
    let (mut caller, stop, ended) = connect(silent, patience).await;
    caller.write_all(REQUEST).await.unwrap();
    stop.cancel();
    ended.await;
}

/// Events may be far between.
#[tokio::test]
async fn a_caller_who_waits_for_an_answer_is_not_given_up() {
    let late = get(|| async {
        tokio::time::sleep(10 * SOON).await;
        "late"
    });
    let patience = Patience {
        taken: SOON,
        finish: NEVER,
    };
    let (mut caller, stop, ended) = connect(Router::new().route("/", late), patience).await;
    caller.write_all(REQUEST).await.unwrap();
    let answer = async {
        let mut answer = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut caller, &mut answer)
            .await
            .unwrap();
        stop.cancel();
        answer
    };
    let (answer, ()) = tokio::join!(answer, ended);
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// However it is cut into pieces on its way.
#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let service = Router::new().route("/", get(|| async { "taken" }));
    let patience = Patience {
        taken: NEVER,
        finish: NEVER,
    };
    for (len, expected) in [(100, b"HTTP/1.1 200"), (HEAD_BYTES_MAX, b"HTTP/1.1 431")] {
        let (mut caller, stop, ended) = connect(service.clone(), patience).await;
        let filler = "x".repeat(len);
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nFiller: {filler}\r\n\r\n");
        caller.write_all(request.as_bytes()).await.unwrap();
        let answer = async {
            let mut answer = [0; 12];
            tokio::io::AsyncReadExt::read_exact(&mut caller, &mut answer)
                .await
                .unwrap();
            stop.cancel();
            answer
        };
        let (answer, ()) = tokio::join!(answer, ended);
        assert_eq!(&answer, expected, "{len}");
    }
}
