// One loop with everything that runs on it: shell, rooms, engine, client handler; and how it ends. Composition only.
// Made by GatewayServer before the loop runs, then lives on the loop until it has ended.

import Bytes
import Logging
import Reactor
import Rooms
import Synchronization
import Telemetry
import Wire

/// What one loop consists of.
final class GatewayLoop: @unchecked Sendable {
    // Sendable is sound: everything but `beginDrain` runs on the loop or while it does not run.
    let loop: Loop
    let clientKind: UInt8
    private let shell: LoopShell
    let rooms: LoopRooms
    private let engine: any Engine
    private let clients: ClientHandler

    init(
        loop: Loop, loops: [Loop], settings: ClientSettings, rules: RoomRules, engine: any Engine, logger: Logger,
        admission: Admission
    ) {
        self.loop = loop
        self.engine = engine
        shell = LoopShell(
            loop: loop, loops: loops, settings: settings, path: engine is MemoryEngine ? .local : .engine)
        rooms = LoopRooms(
            loop: loop.index, loopCount: loops.count, rules: rules, outlet: shell, engine: engine)
        let gate = AdmissionGate(loop: loop, admission: admission, proxies: settings.proxies, logger: logger)
        clients = ClientHandler(shell: shell, rooms: rooms, gate: gate, logger: logger)
        clientKind = loop.register(clients)
        loop.setGate(gate, for: clientKind)
        loop.addHook(clients)
        loop.setLetterHandler(clients)
    }

    /// Once a second: gauges that are read rather than counted.
    func startHousekeeping() {
        loop.schedule(after: .seconds(1)) { [weak self] in
            guard let self else { return }
            loop.metrics.set(.rooms, rooms.roomCount)
            loop.metrics.set(.subscriptions, rooms.subscriptionCount)
            loop.metrics.set(.members, engine.memberCount)
            loop.metrics.set(.outboundQueueBytes, loop.waitingOutput)
            startHousekeeping()
        }
    }

    // MARK: End

    /// Time between two batches of closes.
    private static let drainStep = Duration.milliseconds(50)

    /// Stops listening, closes clients with 3001 in paced batches, and counts `remaining` down when none is left or the
    /// window is over. The last fifth of the window is for peers that are slow to say goodbye. Any thread.
    func beginDrain(within window: Duration, _ remaining: Countdown) {
        loop.execute { [self] in
            loop.stopListening(handler: clientKind)
            let deadline = loop.now + window
            let steps = max(1, window.wholeMilliseconds * 4 / 5 / GatewayLoop.drainStep.wholeMilliseconds)
            let batch = max(1, (shell.connectionCount + Int(steps) - 1) / Int(steps))
            drain(from: 0, batch: batch, until: deadline, remaining)
        }
    }

    private func drain(from slot: UInt32, batch: Int, until deadline: MonotonicTime, _ remaining: Countdown) {
        guard shell.connectionCount > 0, loop.now < deadline else { return remaining.finishOne() }
        let next = shell.closeSome(from: slot, most: batch, .shutdown) { [rooms] in rooms.wantsCloseHints($0) }
        loop.schedule(after: GatewayLoop.drainStep) { [self] in
            drain(from: next, batch: batch, until: deadline, remaining)
        }
    }

    /// Ends the loop; the engine says its last word in the iteration that is the last one. From any thread.
    func stop() {
        loop.execute { [self] in
            engine.shutdown()
            loop.stop()
        }
    }

    /// Lets go of everything, after the loop has ended.
    func dismantle() {
        engine.shutdown()
        loop.dismantle()
    }
}

/// Counts down from several threads; the last one runs the end.
final class Countdown: Sendable {
    private let left: Atomic<Int>
    private let end: @Sendable () -> Void

    init(_ count: Int, end: @escaping @Sendable () -> Void) {
        left = Atomic(count)
        self.end = end
    }

    func finishOne() {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { end() }
    }
}
