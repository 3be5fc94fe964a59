/* Between Lua and Rust: what src/sys.rs declares. Text and data cross as bytes; values cross in the encoding of src/codec.rs. */
#ifndef TENTERHOOK_BRIDGE_H
#define TENTERHOOK_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#include "lua.h"

/* One Lua state with its memory budget. */
typedef struct Bridge Bridge;

/* Calls the Rust function with this index. `args` holds `count` encoded values. Gives back the number of encoded values in `reply`, or -1 when
   `reply` is the text of an error. `reply` stays valid until the next call. */
typedef int (*BridgeCallback)(void *host, uint32_t index, const uint8_t *args, size_t args_len, uint32_t count, const uint8_t **reply,
                              size_t *reply_len);

/* What the functions below give back, beside Lua's own statuses (1 to 5). */
#define BRIDGE_OK 0

Bridge *bridge_open(size_t cap, uint64_t seed, void *host, BridgeCallback callback);
void bridge_close(Bridge *bridge);
/* New random numbers: `math.random` goes on from this seed. */
void bridge_reseed(Bridge *bridge, uint64_t seed);
size_t bridge_used(const Bridge *bridge);

/* Puts the Rust function `index` into the table of host functions. */
int bridge_register(Bridge *bridge, const char *name, size_t name_len, uint32_t index);
/* Compiles a chunk, calls nothing. Its handle is `*ref`. With `sandboxed` its globals are a fresh table of the prelude's `environment`. */
int bridge_load(Bridge *bridge, const char *name, const char *text, size_t text_len, int sandboxed, int *ref);
/* Gives the prelude, a loaded chunk, the table of host functions and the mode; keeps the function that it returns as `environment`. */
int bridge_prelude(Bridge *bridge, int ref, const char *mode, size_t mode_len);
/* Calls a function with `count` encoded arguments, and keeps all results for bridge_take. `*results` is their number. */
int bridge_call(Bridge *bridge, int ref, const uint8_t *args, size_t args_len, uint32_t count, int *results);
/* Encodes result `index` (from 1) of the last call. The bytes stay valid until the next call of any function. */
int bridge_result(Bridge *bridge, int index, const uint8_t **bytes, size_t *len);
/* Makes result `index` (from 1) of the last call a handle, and says its type: LUA_T… */
int bridge_keep(Bridge *bridge, int index, int *ref, int *type);
/* Gives a compiled chunk and all functions in it another name. */
int bridge_rename(Bridge *bridge, int ref, const char *name, size_t name_len);
/* Forgets a handle. */
void bridge_forget(Bridge *bridge, int ref);
/* The text of the last error. */
void bridge_error(Bridge *bridge, const char **text, size_t *len);

/* Opens the libraries (open.c). */
void bridge_open_libraries(lua_State *L);
/* What LuaJIT has beside Lua's libraries (dialect.c). The table of host functions is on top of the stack. */
void bridge_open_dialect(lua_State *L);
/* For bridge_rename: the chunk and the name lie on top (rename.c). */
void bridge_rename_top(lua_State *L);
/* Puts random and randomseed into the table on top (random.c). */
void random_open(lua_State *L);
/* Seeds math.random (random.c). */
void bridge_seed_random(lua_State *L, uint64_t seed);

#endif
