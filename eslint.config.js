import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  { ignores: ['dist/', '.data/', 'node_modules/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/consistent-type-definitions': 'off',
      'no-console': 'error',
      // Express knows a handler of errors by its four parameters.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_next$' }],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/http/render.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "CallExpression[callee.property.name='render']",
          message: 'Show pages with http/render.ts, which knows what each template gets.',
        },
      ],
    },
  },
  { files: ['jest.config.js'], languageOptions: { globals: { process: 'readonly' } } },
  { files: ['views/assets/**/*.js'], languageOptions: { globals: browserGlobals() } },
);

/** What the scripts of our pages use of a browser. */
function browserGlobals() {
  const names = [
    'AbortSignal',
    'addEventListener',
    'clearInterval',
    'clearTimeout',
    'CSS',
    'document',
    'DOMParser',
    'EventSource',
    'fetch',
    'location',
    'MediaStream',
    'MutationObserver',
    'performance',
    'RTCPeerConnection',
    'scrollBy',
    'scrollY',
    'setInterval',
    'setTimeout',
  ];
  return Object.fromEntries(names.map((name) => [name, 'readonly']));
}
