//! What goes wrong around the program, besides its certificates, its log and its clients.

use rustix::process::Signal;

use crate::support::{Authority, Program, connect, get, images, post, raw_post, review, until};

#[tokio::test]
async fn a_process_that_was_stopped_answers_what_came_meanwhile() {
    let authority = Authority::new("a CA");
    let (program, addr, admin) = Program::serve(&authority, &[]).await;
    let mut kept = connect(addr, authority.roots()).await;

    program.signal(Signal::STOP);
    until("the program is stopped", || program.state() == 'T').await;
    kept.send(raw_post(review("1", "nginx"))).await;
    let new = tokio::spawn(post(addr, authority.roots(), review("2", "nginx")));
    program.signal(Signal::CONT);

    assert_eq!(images(&kept.answer().await.body).len(), 1);
    assert_eq!(images(&new.await.unwrap()).len(), 1);
    assert_eq!(get(admin, "/readyz").await.0, 200);
}
