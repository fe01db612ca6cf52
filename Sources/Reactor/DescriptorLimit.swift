// How many descriptors this process may have: a connection costs one. Called by executables at their start, on the main
// thread, before any loop runs.

import Glibc

/// The limit of open descriptors.
package enum DescriptorLimit {
    /// Raises the soft limit to the hard one and returns what holds now. Distributions set the soft one to 1,024, for
    /// programs that use select(); epoll has no such bound. Where it cannot be raised it stays as it is.
    @discardableResult
    package static func raise() -> UInt64 {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 0 }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        return setrlimit(resource, &limit) == 0 ? UInt64(limit.rlim_cur) : UInt64(before)
    }
}
