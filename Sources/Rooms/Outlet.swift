// What rooms need from the shell around them: the connections of their loop, its time, and the mailboxes of the other
// loops. The gateway implements it on the reactor, tests implement it with arrays.

package import Bytes
package import Wire

/// A connection as rooms name it: one opaque word. 0 is none.
package typealias ConnectionWord = UInt64

/// Bytes that were made ready for many connections; opaque to rooms.
package struct Broadcast {
    /// Whatever the shell needs to find it again.
    package let handle: UnsafeMutableRawPointer
    /// Publications in it, for the metrics.
    package let messages: Int
    /// When the oldest of them came to this loop, for the metrics.
    package let since: MonotonicTime

    package init(handle: UnsafeMutableRawPointer, messages: Int, since: MonotonicTime) {
        self.handle = handle
        self.messages = messages
        self.since = since
    }
}

/// The shell of one loop.
package protocol Outlet: AnyObject {
    /// The time of this loop iteration.
    var now: MonotonicTime { get }

    /// Sends one reply or push, which the call copies.
    func send(_ connection: ConnectionWord, _ message: UnsafeRawBufferPointer)

    /// Holds back what is sent to the connection from now on, until `release`. It still counts towards the limit of the
    /// connection's queue.
    func hold(_ connection: ConnectionWord)

    /// Sends `message`, unless it is empty, then what was held back.
    func release(_ connection: ConnectionWord, first message: UnsafeRawBufferPointer)

    /// Sends a ping frame of the WebSocket protocol.
    func sendPingFrame(_ connection: ConnectionWord)

    /// Begins to close; the connection's `closed` follows later, never within this call.
    func close(_ connection: ConnectionWord, _ code: DisconnectCode)

    /// Arms the connection's only timer, in place of the one before.
    func setTimer(_ connection: ConnectionWord, after delay: Duration)

    /// Runs `body` once on this loop. For what is rare.
    func schedule(after delay: Duration, _ body: @escaping () -> Void)

    /// Copies `frames`, the wire frames of that many `messages`, for `fanOut`. `since` is when the oldest came.
    func makeBroadcast(_ frames: UnsafeRawBufferPointer, messages: Int, since: MonotonicTime) -> Broadcast

    /// Queues `broadcast` for every one of `members`. A member whose queue is over its limit is closed as slow.
    func fanOut(_ broadcast: Broadcast, to members: UnsafeBufferPointer<ConnectionWord>)

    /// Gives `broadcast` back.
    func release(_ broadcast: Broadcast)

    /// Tells another loop. False when its mailbox is full, which only happens to messages that are not urgent.
    func post(_ message: LoopMessage, to loop: Int, urgent: Bool) -> Bool

    /// Counts for the metrics.
    func record(_ event: RoomEvent)

    /// Fills `bytes` with random ones fit for identifiers.
    func random(_ bytes: UnsafeMutableRawBufferPointer)
}
