/* `bit`: the bit operations of LuaJIT, on 32-bit integers. Results are signed, counts are taken modulo 32. */
#include <stdint.h>
#include <stdio.h>

#include "lauxlib.h"
#include "lua.h"

/* A number beyond 32 bits is taken modulo 2^32 as long as it is below 2^51, rounded to the nearest (to even); what lies beyond is unspecified. Adding
   1.5 * 2^52 puts the number, rounded, into the low bits. */
static uint32_t to_bits(lua_Number number) {
  union {
    lua_Number number;
    uint64_t bits;
  } shifted;
  shifted.number = number + 6755399441055744.0;
  return (uint32_t)shifted.bits;
}

static uint32_t argument(lua_State *L, int index) {
  return to_bits(luaL_checknumber(L, index));
}

static int give(lua_State *L, uint32_t bits) {
  lua_pushnumber(L, (lua_Number)(int32_t)bits);
  return 1;
}

static int bit_tobit(lua_State *L) {
  return give(L, argument(L, 1));
}

static int bit_bnot(lua_State *L) {
  return give(L, ~argument(L, 1));
}

static int bit_band(lua_State *L) {
  uint32_t bits = argument(L, 1);
  int i;
  for (i = lua_gettop(L); i > 1; i--) bits &= argument(L, i);
  return give(L, bits);
}

static int bit_bor(lua_State *L) {
  uint32_t bits = argument(L, 1);
  int i;
  for (i = lua_gettop(L); i > 1; i--) bits |= argument(L, i);
  return give(L, bits);
}

static int bit_bxor(lua_State *L) {
  uint32_t bits = argument(L, 1);
  int i;
  for (i = lua_gettop(L); i > 1; i--) bits ^= argument(L, i);
  return give(L, bits);
}

static int bit_lshift(lua_State *L) {
  return give(L, argument(L, 1) << (argument(L, 2) & 31));
}

static int bit_rshift(lua_State *L) {
  return give(L, argument(L, 1) >> (argument(L, 2) & 31));
}

static int bit_arshift(lua_State *L) {
  uint32_t bits = argument(L, 1), count = argument(L, 2) & 31;
  /* C leaves the shift of a negative number to the compiler. */
  uint32_t sign = bits >> 31 && count > 0 ? ~0u << (32 - count) : 0;
  return give(L, bits >> count | sign);
}

static int bit_rol(lua_State *L) {
  uint32_t bits = argument(L, 1), count = argument(L, 2) & 31;
  return give(L, bits << count | bits >> ((32 - count) & 31));
}

static int bit_ror(lua_State *L) {
  uint32_t bits = argument(L, 1), count = argument(L, 2) & 31;
  return give(L, bits >> count | bits << ((32 - count) & 31));
}

static int bit_bswap(lua_State *L) {
  uint32_t bits = argument(L, 1);
  return give(L, bits >> 24 | (bits >> 8 & 0xff00) | (bits & 0xff00) << 8 | bits << 24);
}

/* So many digits, from the right; in upper case if the number of digits is negative. */
static int bit_tohex(lua_State *L) {
  uint32_t bits = argument(L, 1);
  int32_t count = lua_isnoneornil(L, 2) ? 8 : (int32_t)argument(L, 2);
  const char *digits = count < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
  char text[8];
  int i;
  if (count < 0) count = count == INT32_MIN ? 8 : -count;
  if (count > 8) count = 8;
  for (i = count - 1; i >= 0; i--, bits >>= 4) text[i] = digits[bits & 15];
  lua_pushlstring(L, text, (size_t)count);
  return 1;
}

static const luaL_Reg FUNCTIONS[] = {
    {"tobit", bit_tobit},   {"bnot", bit_bnot},       {"band", bit_band}, {"bor", bit_bor}, {"bxor", bit_bxor},   {"lshift", bit_lshift},
    {"rshift", bit_rshift}, {"arshift", bit_arshift}, {"rol", bit_rol},   {"ror", bit_ror}, {"bswap", bit_bswap}, {"tohex", bit_tohex},
    {NULL, NULL},
};

int luaopen_bit(lua_State *L) {
  luaL_register(L, "bit", FUNCTIONS);
  return 1;
}
