//! Which connection makes place for another, and which never does.

use super::*;

fn connections(max: usize) -> Arc<Connections> {
    Connections::new(max, Counted::nowhere())
}

fn is_open(list: &Connections, entry: &Entry) -> bool {
    list.lock().by_id.contains_key(&entry.connection.id)
}

#[test]
fn one_whose_request_is_complete_keeps_its_place() {
    let list = connections(2);
    let first = list.enter().unwrap();
    let second = list.enter().unwrap();
    first.connection.head_received();
    first.connection.request_received();
    let third = list.enter().unwrap();
    assert!(is_open(&list, &first) && !is_open(&list, &second) && is_open(&list, &third));

    // Where every one has a complete request, the new one gets no place.
    third.connection.request_received();
    assert!(list.enter().is_none());
    assert!(!list.evict());
    assert!(is_open(&list, &first) && is_open(&list, &third));

    first.connection.answered();
    let fourth = list.enter().unwrap();
    assert!(!is_open(&list, &first) && is_open(&list, &third) && is_open(&list, &fourth));
}

#[test]
fn what_counts_is_since_when_the_client_is_waited_for() {
    let list = connections(3);
    let entries: Vec<Entry> = (0..3).filter_map(|_| list.enter()).collect();
    // The oldest is answered, the second sends a head; the third has done nothing since.
    entries[0].connection.request_received();
    entries[0].connection.answered();
    entries[1].connection.head_received();
    // Bytes alone gain it nothing.
    entries[2].connection.bytes_received();
    let order = [2, 0, 1];
    for (count, index) in order.into_iter().enumerate() {
        assert!(list.evict());
        for gone in &order[..=count] {
            assert!(!is_open(&list, &entries[*gone]));
        }
        assert_eq!(list.lock().by_id.len(), 2 - count, "{index}");
    }
    assert!(!list.evict());
}

#[test]
fn a_place_is_free_when_its_connection_ends() {
    let list = connections(1);
    drop(list.enter().unwrap());
    let entry = list.enter().unwrap();
    assert!(list.evict());
    let other = list.enter().unwrap();
    // The end of one that has lost its place takes nobody else's.
    drop(entry);
    assert!(is_open(&list, &other));
}

#[test]
fn a_new_connection_expects_its_first_answer() {
    let list = connections(1);
    let entry = list.enter().unwrap();
    let connection = entry.connection();
    assert!(connection.expects_answer() && !connection.has_requested());
    connection.bytes_received();
    connection.head_received();
    assert!(connection.expects_answer() && connection.has_requested());
    connection.request_received();
    connection.answered();
    assert!(!connection.expects_answer());
    connection.bytes_received();
    assert!(connection.expects_answer());
}
