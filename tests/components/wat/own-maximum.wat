;; Its memory may not grow by its own declaration: that is the guest's affair and no limit of the host.
(memory $small 1 1)
(func $handle (param i32) (result i32)
  (if (i32.ne (memory.grow $small (i32.const 1)) (i32.const -1)) (then (unreachable)))
  ;; ok(done(none)): all zero.
  (i32.const 6144))
