;; Four memories, none of which is large: only their sum is.
(memory $second 1)
(memory $third 1)
(memory $fourth 1)
(func $handle (param i32) (result i32)
  (loop $again
    (drop (memory.grow 0 (i32.const 16)))
    (drop (memory.grow $second (i32.const 16)))
    (drop (memory.grow $third (i32.const 16)))
    (drop (memory.grow $fourth (i32.const 16)))
    (br $again))
  (unreachable))
