//! The end of a connection of HTTP: by itself, or asked for, with a time for what is under way.
//!
//! ```text
//!   goes on --ends by itself--> over
//!      `--due--> finishing: takes no new request --the last one is answered, or its time is over--> over
//! ```
//!
//! Of HTTP/2 a request that was on its way when the end was due is one of those under way.
//!
//! **What it does not know:** why an end is due, for how long it may take, which version of HTTP it is.

use std::future::Future;
use std::pin::{Pin, pin};

/// Drives a connection until it ends; once `due` is, `finish` has it take no new request, and those under way have
/// until `over`, which is asked from then on. What is cut then is no error.
///
/// # Errors
/// The connection's.
pub async fn to_its_end<C, E>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    due: impl Future<Output = ()>,
    over: impl Future<Output = ()>,
) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = due => {}
    }
    finish(connection.as_mut());
    tokio::select! {
        ended = connection => ended,
        () = over => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::cell::Cell;
    use std::future::{pending, ready};

    /// What comes of a connection, and whether it was asked to finish.
    async fn end<C>(
        connection: C,
        due: impl Future<Output = ()>,
        over: impl Future<Output = ()>,
    ) -> (Result<(), &'static str>, bool)
    where
        C: Future<Output = Result<(), &'static str>>,
    {
        let asked = Cell::new(false);
        let ended = to_its_end(connection, |_| asked.set(true), due, over).await;
        (ended, asked.get())
    }

    #[tokio::test]
    async fn a_connection_ends_by_itself_or_has_a_time_to_finish() {
        let broken = end(ready(Err("broken")), pending(), pending()).await;
        assert_eq!(broken, (Err("broken"), false));
        let (told, hears) = tokio::sync::oneshot::channel();
        let answers = async { hears.await.map_err(|_| "nobody asked it to finish") };
        let finished = to_its_end(
            answers,
            |_| told.send(()).unwrap_or_default(),
            ready(()),
            pending(),
        );
        assert_eq!(finished.await, Ok(()));
        let cut = end(pending(), ready(()), ready(())).await;
        assert_eq!(cut, (Ok(()), true));
    }
}
