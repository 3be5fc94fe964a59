;; Grows until it is refused, and would then hide the reason behind a trap of its own.
(func $handle (param i32) (result i32)
  (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (unreachable))
