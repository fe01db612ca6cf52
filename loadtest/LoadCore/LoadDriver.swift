// What a kind of load does with connections that the pool holds for it. Called on the worker's loop.

package import Bytes

/// One kind of load: reacts to what happens on connections. Connections are named by their index among the worker's.
package protocol LoadDriver: AnyObject, SendableMetatype {
    /// Whether lines of the application protocol are told apart before `message` is called (rooms), or not (echo).
    var speaksRooms: Bool { get }
    /// A message that is no reply and no ping: one line of a room's push, or a whole echoed message.
    func message(_ index: Int, _ bytes: UnsafeRawBufferPointer, now: MonotonicTime)
    /// The publication with command number `id` was refused.
    func refused(_ index: Int, id: UInt64, code: UInt64)
    /// The load begins at `start`, which is now or a moment ago; what is due before `measureFrom` is warm-up.
    func start(at start: MonotonicTime, measureFrom: MonotonicTime, until: MonotonicTime)
    /// The times at which messages are due once the load has begun; nil in the closed loop.
    var pacing: RateSchedule? { get }
    /// Sends a message on a connection; set by whoever owns the pool.
    var send: (Int, UnsafeRawBufferPointer) -> Void { get set }
    /// Messages that are due by now are to be sent (open model).
    func paced(now: MonotonicTime)
    /// The load is over: nothing new is sent.
    func stop()
    /// Adds what was found to `result`.
    func collect(into result: inout WorkerResult)
    /// Deliveries that came, each message once.
    var delivered: UInt64 { get }
    /// What each publisher got accepted: room, publisher's number, messages.
    var published: [(room: Int, publisher: Int, count: UInt64)] { get }
}

/// The load of `flood`: connections that are held and do nothing.
package final class IdleDriver: LoadDriver {
    package let speaksRooms: Bool
    package var send: (Int, UnsafeRawBufferPointer) -> Void = { _, _ in }
    package var pacing: RateSchedule? { nil }
    private var unexpected: UInt64 = 0

    /// A driver for connections of a plan.
    package init(plan: LoadPlan) { speaksRooms = plan.path == plan.language.roomPath }

    package func message(_ index: Int, _ bytes: UnsafeRawBufferPointer, now: MonotonicTime) { unexpected += 1 }
    package func refused(_ index: Int, id: UInt64, code: UInt64) { unexpected += 1 }
    package func start(at start: MonotonicTime, measureFrom: MonotonicTime, until: MonotonicTime) {}
    package func paced(now: MonotonicTime) {}
    package func stop() {}
    package func collect(into result: inout WorkerResult) { result["unexpected"] += unexpected }
    package var delivered: UInt64 { 0 }
    package var published: [(room: Int, publisher: Int, count: UInt64)] { [] }
}
