;; A component, and no handler.
(component
  (instance $other)
  (export "acme:other/thing@1.0.0" (instance $other)))
