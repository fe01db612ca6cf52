// Where mutation of the client protocol's JSON starts: one frame of every command and every kind of server message,
// some with several lines, and the corners of JSON that parsers trip over.

/// Frames of both directions.
let commandSeeds: [[UInt8]] = [
    #"{"id":1,"connect":{}}"#,
    #"{"id":1,"connect":{"token":"t","data":{"a":[1,2.5e-3,null]},"name":"js","version":"5.0.0","headers":{"x":"y"}}}"#,
    #"{"id":1,"connect":{"subs":{"lobby":{"recover":true,"epoch":"e","offset":18446744073709551615}}}}"#,
    #"{"id":2,"subscribe":{"channel":"chat:index","token":"","recover":true,"epoch":"abc","offset":7,"flag":1}}"#,
    #"{"id":3,"publish":{"channel":"chat:index","data":{"input":"h\u00e9llo \ud83d\ude00 \n"},"idempotency_key":"k"}}"#,
    #"{"id":4,"unsubscribe":{"channel":"a"}}"# + "\n" + #"{"id":5,"ping":{}}"# + "\n{}",
    #"{"id":6,"history":{"channel":"a","limit":-1,"since":{"offset":3,"epoch":"x"},"reverse":true}}"#,
    #"{"id":7,"presence":{"channel":"a"}}"# + "\n" + #"{"id":8,"presence_stats":{"channel":"a"}}"#,
    #"{"send":{"data":[]}}"#, #"{"id":9,"rpc":{"method":"m","data":"x"}}"#,
    #"{"id":10,"refresh":{"token":"t"}}"#, #"{"id":11,"sub_refresh":{"channel":"a","token":"t"}}"#,
    #"{"id":1,"connect":{"client":"c0ffee00-0000-4000-8000-000000000000","version":"1","ping":25,"pong":true}}"#,
    #"{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":4,"publications":[{"data":1,"offset":4}]}}"#,
    #"{"id":3,"error":{"code":111,"message":"too many requests","temporary":true,"retry_after":250}}"#,
    #"{"push":{"channel":"a","pub":{"data":{"x":1},"info":{"user":"u","client":"c"},"offset":9,"tags":{"k":"v"}}}}"#,
    #"{"push":{"channel":"a","join":{"info":{"user":"u","client":"c","conn_info":{}}}}}"#,
    #"{"push":{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}"#,
    #"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
    #" { "id" : 1 , "connect" : { "data" : " \" \\ \/ \b \f \n \r \t " } } "#,
    #"{"id":1,"id":2,"connect":{},"publish":{}}"#, "[[[[[[[[[[[[]]]]]]]]]]]]", #"{"id":1e1}"#, #"{"id":-1}"#,
].map { Array($0.utf8) }
