//! The asynchronous front and its group commit.

use store::{AppendError, Changes, Fault, Head, StoreHandle};

use crate::fixture::{Writer, cell, create, open, secret, secret_name};

#[tokio::test]
async fn queued_appends_keep_their_order_and_share_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let handle = StoreHandle::spawn(create(&path)).unwrap();
    let mut writer = Writer::new();
    let mut head = Head::EMPTY;
    let mut waiting = Vec::new();
    for number in 0..200_u64 {
        let mut batch = writer.batch(&[3], number as u8);
        batch.changes.put_cell(cell("cursor"), number.to_be_bytes().to_vec());
        let next = batch.head_after(head);
        let append = handle.clone();
        let expected = head;
        // Polled in order, so queued in order; all wait at once.
        waiting.push((next, Box::pin(async move { append.append(expected, batch).await })));
        head = next;
    }
    let mut set = tokio::task::JoinSet::new();
    for (number, (next, append)) in waiting.into_iter().enumerate() {
        set.spawn(async move { (number, next, append.await) });
    }
    while let Some(done) = set.join_next().await {
        let (number, next, result) = done.unwrap();
        assert_eq!(result.unwrap(), next, "append {number}");
    }
    assert_eq!(handle.head().await.unwrap(), head);
    assert_eq!(handle.cell(cell("cursor")).await.unwrap(), Some(199_u64.to_be_bytes().to_vec()));
    handle.close().await.unwrap();
    assert_eq!(open(&path).fsck().unwrap().entries, 200);
}

#[tokio::test]
async fn one_loser_of_a_group_does_not_harm_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let handle = StoreHandle::spawn(create(&dir.path().join("alpha.db"))).unwrap();
    let mut writer = Writer::new();
    let mut rival = Writer::new();
    let (won, lost) = (writer.batch(&[1], 1), rival.batch(&[2], 2));
    let mut changes = Changes::default();
    changes.put_secret(secret_name("k"), secret(b"kept"));
    let (first, second, third) =
        tokio::join!(handle.append(Head::EMPTY, won), handle.append(Head::EMPTY, lost), handle.apply(changes),);
    let head = first.unwrap();
    assert!(matches!(second, Err(AppendError::Lost { actual }) if actual == head));
    third.unwrap();
    assert_eq!(handle.secret(secret_name("k")).await.unwrap().unwrap().expose(), b"kept");
    assert_eq!(handle.fsck().await.unwrap().entries, 1);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let handle = StoreHandle::spawn(create(&dir.path().join("alpha.db"))).unwrap();
    let other = handle.clone();
    handle.close().await.unwrap();
    assert!(matches!(other.head().await, Err(Fault::Closed)));
    let late = other.append(Head::EMPTY, Writer::new().batch(&[1], 1)).await;
    assert!(matches!(late, Err(AppendError::Fault(Fault::Closed))));
}

#[tokio::test]
async fn dropping_every_handle_carries_out_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let handle = StoreHandle::spawn(create(&path)).unwrap();
    let mut cells = Box::pin(handle.put_cells(vec![(cell("pad"), vec![9])]));
    // Polled once, so that it is queued, and then abandoned.
    let polled = futures_poll_once(&mut cells).await;
    drop((polled, cells));
    assert_eq!(handle.cell(cell("pad")).await.unwrap(), Some(vec![9]));
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
