;; Answers ok(done(some(text))) with bytes that are not UTF-8.
(data (i32.const 5000) "\ff\fe\fd")
(func $handle (param i32) (result i32)
  (i32.store8 (i32.const 6144) (i32.const 0))
  (i32.store8 (i32.const 6152) (i32.const 0))
  (i32.store8 (i32.const 6156) (i32.const 1))
  (i32.store (i32.const 6160) (i32.const 5000))
  (i32.store (i32.const 6164) (i32.const 3))
  (i32.const 6144))
