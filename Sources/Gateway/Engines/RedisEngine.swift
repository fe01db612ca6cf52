// The engine of many processes: rooms are channels of one Redis. One instance per loop, with a connection for commands
// and one for subscriptions; it serves the rooms whose home the loop is. The protocol is in the Redis module; here it
// meets the engine port.
//
// Available means: both links work and every room is subscribed again. Until then each command is answered at once and
// nothing is kept for later. A command whose link breaks is answered `outcomeUnknown` if it may have been written
// wholly, else `unavailable`. State lies behind a pointer, since a class's `var` costs a check per access; links are
// pulled, so that whoever hears a result may send the next command at once.

package import Bytes
import Logging
package import Reactor
import Redis
package import Rooms
import Telemetry

#if compiler(>=6.2)
package import struct Logging.Logger
#endif

/// What an engine of one loop knows.
struct RedisEngineState: ~Copyable {
    var commands: CommandLink
    var rooms: PubSubLink
    var check: PublicationCheck
    var isAvailable = false
    var isWritingScheduled = false
    var isStopped = false
    var timer = TimerToken.none
    var wake = MonotonicTime(nanoseconds: .max)
    var skipped: UInt64 = 0
    var faults = LogSampler()
    var skips = LogSampler()
}
