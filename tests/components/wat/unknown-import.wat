;; Asks for something that no host offers.
(component
  (import "acme:net/raw-socket@1.0.0" (instance))
  (instance $handler)
  (export "tenterhook:hook/handler@0.1.0" (instance $handler)))
