/* The tag of the exception that longjmp throws. The compiler refers to it and leaves it undefined. */
#ifdef __wasm__
__asm__(".globl __c_longjmp\n.tagtype __c_longjmp i32\n__c_longjmp:\n");
#else
typedef int not_needed_natively;
#endif
