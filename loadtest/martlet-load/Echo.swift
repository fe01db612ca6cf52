// `martlet-load echo`: messages that come back.

import ArgumentParser
import LoadCore

/// Options of the loads that send messages.
struct MessageOptions: ParsableArguments {
    @Option(help: "Messages in flight: of each connection (echo) or publisher (fanout), in the closed loop.")
    var window = 1

    @Option(help: "Offered messages a second in all, sent at fixed times whatever came back; 0 is the closed loop.")
    var rate = 0.0

    @Option(help: "Seconds before measuring begins.")
    var warmup = 0.5

    @Option(help: "Seconds that are measured.")
    var seconds = 5.0

    @Option(help: "Seconds to wait at the end for what is still under way.")
    var drain = 5.0

    func validate() throws {
        guard window >= 1, window <= 65_536 else { throw ValidationError("--window must be 1 to 65536") }
        guard rate >= 0, rate <= 1e7 else { throw ValidationError("--rate must be 0 to 10000000") }
    }

    /// Puts the options into a plan.
    func apply(to plan: inout LoadPlan) throws {
        plan.window = window
        plan.messageRate = rate
        plan.warmup = try milliseconds(warmup, "--warmup")
        plan.duration = try milliseconds(seconds, "--seconds")
        plan.drain = try milliseconds(drain, "--drain")
    }
}

struct Echo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Send messages that come back: the cost of the bare path through the server.",
        discussion: """
            The server's configuration must have its echo endpoint on:
            {"echo": true}.

              martlet-load echo -n 64 --window 16 --pid $(pgrep -x martlet)
              martlet-load echo -n 1000 --rate 20000 --bytes 200 --seconds 30
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var messages: MessageOptions

    @Option(name: [.customShort("n"), .long], help: "Connections.")
    var connections = 64

    @Option(help: "Bytes of a message: at least 10, at an offered rate at least 26.")
    var bytes = 20

    func validate() throws {
        let least = EchoDriver.numberDigits + (messages.rate > 0 ? EchoDriver.timeDigits : 0)
        guard bytes >= least, bytes <= 1 << 20 else {
            throw ValidationError("--bytes must be \(least) to 1048576 here")
        }
        _ = try plan()
    }

    private func plan() throws -> LoadPlan {
        var plan = try common.plan(.echo, connections: connections)
        plan.bytes = bytes
        try messages.apply(to: &plan)
        return plan
    }

    func run() throws { try common.execute(try plan()) }
}
